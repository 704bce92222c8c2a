"""Why a request has no candidate, and how many more of it fit: pure, over the same topology as the search."""
