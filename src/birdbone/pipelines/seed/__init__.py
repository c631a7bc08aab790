"""Stage 1: the untouched model and its text."""

WHOLE = True
