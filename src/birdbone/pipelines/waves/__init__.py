"""The waves stage."""
