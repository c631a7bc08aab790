"""SparseGPT: a mask and what makes up for it, a block of columns at a time (Frantar & Alistarh 2023, arXiv:2301.00774).

Legend: O rows (outputs), I columns (inputs).
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
        u, w = (
            factor[start:stop, start:stop],
            weight[:, start:stop].T.contiguous(),
        )  # columns lie together
        spread = u.diagonal()[:, None]
        kept, errors = torch.ones_like(w, dtype=torch.bool), torch.empty_like(w)
        if pattern is None:
            kept = keep_largest((w / spread).square(), sparsity, None, per_row=False)
        passed_on = ~kept / spread
        for j in range(stop - start):
            if pattern is not None and j % pattern[1] == 0:
                group = slice(j, j + pattern[1])
                kept[group] = keep_largest(
                    (w[group] / spread[group]).square().T, 0.0, pattern, per_row=True
                ).T
                passed_on[group] = ~kept[group] / spread[group]
            torch.mul(w[j], passed_on[j], out=errors[j])
            w[j + 1 :].addr_(u[j, j + 1 :], errors[j], alpha=-1)
        mask[:, start:stop], weight[:, start:stop] = kept.T, w.T
        weight[:, stop:] -= errors.T @ factor[start:stop, stop:]
    return mask, weight * mask
