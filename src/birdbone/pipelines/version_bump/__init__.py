"""The version_bump stage."""
