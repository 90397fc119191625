"""Processing of one input, from a request to its output files."""
