"""The mixture of experts. Not part of the whole job."""

WHOLE = False
