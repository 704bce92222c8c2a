"""The graph of providers, what they hold and who consumes it; the stores behind one protocol."""
