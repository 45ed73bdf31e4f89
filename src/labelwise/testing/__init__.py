"""Contract tests that anybody can run on what they write: formats of their own, kept outside of the package, too."""
