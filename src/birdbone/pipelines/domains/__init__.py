"""The domains pipeline."""
