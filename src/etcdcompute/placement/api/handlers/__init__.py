"""What each route does: a function from the store and a request to a response, one module per noun."""
