"""Stages 5 to 8: prune, heal, regrow, guard."""

WHOLE = True
