"""The seed, given the healing that the waves get."""

WHOLE = True
