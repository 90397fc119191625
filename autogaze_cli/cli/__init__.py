"""The command line, the only package that uses Click: options, configuration, output, errors."""
