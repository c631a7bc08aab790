"""Stage 2: what every node does on the calibration text."""

WHOLE = True
