"""The tokens that the job needs, and a seed with those alone."""

WHOLE = True
