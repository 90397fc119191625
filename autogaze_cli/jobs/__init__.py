"""One input, from a request to its files."""
