"""Benchmark tasks. Not part of the whole job."""

WHOLE = False
