"""Scanning a model on text, and making the scan visible."""
