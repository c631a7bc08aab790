"""Stage 4: which nodes respond alike."""

WHOLE = True
