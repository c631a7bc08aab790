"""How many positions a model has, and token windows that stay within them.

Legend: N windows, T tokens per window.
"""

from __future__ import annotations

from torch import Tensor


def positions_of(config: dict) -> int | None:
    """Positions that the configuration gives the model; None where it says nothing."""
    return config.get("max_position_embeddings") or config.get("n_positions")


def within(windows: Tensor, positions: int) -> Tensor:
    """Windows [N, T] cut side by side into pieces of at most ``positions`` tokens, all of one
    length.
    """
    length = min(windows.shape[1], positions)
    pieces = windows.shape[1] // length
    return windows[:, : pieces * length].reshape(-1, length)
