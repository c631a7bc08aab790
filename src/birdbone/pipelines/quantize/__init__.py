"""Stage 9, first half: rounding onto GGUF grids."""

WHOLE = True
