"""Stage 10: the diff bundle of this run."""

WHOLE = True
