"""Which entries of a matrix stay: the largest of all, of each row, or of each N:M group."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_largest(score: Tensor, sparsity: float, pattern: tuple[int, int] | None, per_row: bool) -> Tensor:
    """True where ``score`` [O, I] is among the largest of its row, its N:M group, or the matrix."""
    rows, columns = score.shape
    if pattern is not None:
        n, m = pattern
        groups = score.reshape(rows, columns // m, m)
        best = groups.argsort(dim=-1, descending=True, stable=True)[..., :n]
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, True).reshape(rows, columns)
    flat = score if per_row else score.reshape(1, -1)
    drop = int(round(sparsity * flat.shape[1]))
    if drop == 0:
        return torch.ones_like(score, dtype=torch.bool)
    least = flat.kthvalue(drop, dim=1, keepdim=True).values
    below = flat < least
    equal = flat == least
    first_equal = equal & (equal.cumsum(1) <= drop - below.sum(1, keepdim=True))
    removed = below | first_equal
    return ~removed.reshape(rows, columns)
