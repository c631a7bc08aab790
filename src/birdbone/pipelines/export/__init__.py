"""Stage 9, second half: files for stock runtimes."""

WHOLE = True
