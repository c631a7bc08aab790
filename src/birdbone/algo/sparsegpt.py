"""SparseGPT: a mask and what makes up for it, a block of columns at a time (Frantar & Alistarh 2023, arXiv:2301.00774).

Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.largest import keep_largest
from birdbone.algo.moments import inverse_factor


def sparsegpt(
    weight: Tensor, moment: Tensor, sparsity: float, pattern: tuple[int, int] | None, damping: float, block: int = 128
) -> tuple[Tensor, Tensor]:
    """(mask bool [O, I], new weight [O, I]) of a matrix whose inputs have the second moment [I, I].

    Columns from left to right; the error of those gone is made up for by those still to come, and the mask
    of the next ``block`` columns is chosen with that done. Raises NumericalError when the damped moment
    cannot be factorized.
    """
    weight, columns = weight.clone().float(), weight.shape[1]
    if pattern:
        block = max(block - block % pattern[1], pattern[1])
    factor = inverse_factor(moment, damping)
    mask = torch.ones_like(weight, dtype=torch.bool)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        w, u = weight[:, start:stop], factor[start:stop, start:stop]
        importance = (w / u.diagonal()).square()
        if pattern is None:
            mask[:, start:stop] = keep_largest(importance, sparsity, None, per_row=False)
        errors = torch.zeros_like(w)
        for j in range(stop - start):
            if pattern is not None and j % pattern[1] == 0:
                group = slice(j, j + pattern[1])
                now = (w[:, group] / u.diagonal()[group]).square()
                mask[:, start + j : start + j + pattern[1]] = keep_largest(now, 0.0, pattern, per_row=True)
            column = w[:, j].clone()
            w[:, j] = torch.where(mask[:, start + j], column, 0.0)
            errors[:, j] = (column - w[:, j]) / u[j, j]
            w[:, j + 1 :] -= errors[:, j : j + 1] @ u[j : j + 1, j + 1 :]
        weight[:, stop:] -= errors @ factor[start:stop, stop:]
    return mask, weight * mask
