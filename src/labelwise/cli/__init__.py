"""The command line, one module per group of commands: a thin skin over the projects and comparisons of Python."""
