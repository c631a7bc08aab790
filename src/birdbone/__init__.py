"""birdbone: makes language models small, one reviewable wave at a time."""

__version__ = "0.1.0"
