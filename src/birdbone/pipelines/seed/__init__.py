"""The seed stage."""
