"""The topology stage."""
