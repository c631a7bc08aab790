"""Everything measured, on one page."""

WHOLE = True
