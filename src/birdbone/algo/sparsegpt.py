"""SparseGPT: a mask and weights that make up for it, a block of columns at a time.

Frantar & Alistarh 2023, arXiv:2301.00774. Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.moments import inverse_factor
from birdbone.algo.topk_mask import keep_largest


def sparsegpt(
    weight: Tensor,
    moment: Tensor,
    sparsity: float,
    pattern: tuple[int, int] | None,
    damping: float,
    block: int = 128,
) -> tuple[Tensor, Tensor]:
    """(mask bool [O, I], new weight [O, I]) of a matrix whose inputs have the second moment [I, I].

    Goes through the columns from left to right. Later columns make up for the error of removed
    weights, and the mask of the next ``block`` columns is chosen after that. Raises NumericalError
    when the damped moment cannot be factorized.
    """
    columns = weight.shape[1]
    weight = weight.clone().float()
    if pattern:
        block = max(block - block % pattern[1], pattern[1])
    factor = inverse_factor(moment, damping)
    mask = torch.ones_like(weight, dtype=torch.bool)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        u = factor[start:stop, start:stop]
        w = weight[:, start:stop].T.contiguous()  # columns lie together
        spread = u.diagonal()[:, None]
        kept = torch.ones_like(w, dtype=torch.bool)
        errors = torch.empty_like(w)
        if pattern is None:
            kept = keep_largest((w / spread).square(), sparsity, None, per_row=False)
        passed_on = ~kept / spread
        for j in range(stop - start):
            if pattern is not None and j % pattern[1] == 0:
                group = slice(j, j + pattern[1])
                saliency = (w[group] / spread[group]).square()
                kept[group] = keep_largest(saliency.T, 0.0, pattern, per_row=True).T
                passed_on[group] = ~kept[group] / spread[group]
            torch.mul(w[j], passed_on[j], out=errors[j])
            w[j + 1 :].addr_(u[j, j + 1 :], errors[j], alpha=-1)
        mask[:, start:stop] = kept.T
        weight[:, start:stop] = w.T
        weight[:, stop:] -= errors.T @ factor[start:stop, stop:]
    return mask, weight * mask
