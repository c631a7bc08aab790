"""Experts, and a test of what they do. Not part of the whole job."""

WHOLE = False
