"""The control stage."""
