"""The whole state from one store to another, by way of a file."""
