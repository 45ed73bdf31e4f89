"""The door: how labels, picks and predictions come in and go out."""
