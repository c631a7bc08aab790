"""Labelled scans. Not part of the whole job."""

WHOLE = False
