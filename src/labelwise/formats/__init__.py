"""One file per format: write it, read it, refuse what breaks it in one line."""
