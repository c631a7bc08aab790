"""Stage 3: the scan of gradients."""

WHOLE = True
