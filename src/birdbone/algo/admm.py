"""A mask and the weights behind it, found together: ADMM with a mask that tightens (Boža 2024, arXiv:2401.02938).

SparseGPT decides column by column and never looks back. Here every round solves the whole least-squares
problem, pulled towards its own masked copy, and masks anew: a matrix product a round instead of a
pass over the columns. Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.moments import damped, factorized
from birdbone.algo.topk_mask import keep_largest

TIGHTENING, SETTLING = 5, 3
"""Rounds in which the mask grows to its size, and steps of conjugate gradients under the final one."""
PULL = 1.0
"""Of the masked copy, beside each input's own power, which is 1 after scaling."""
TINY = 1e-30
SAMPLE = 1 << 16
"""Weights by which a passing threshold is set."""


def admm(
    weight: Tensor, moment: Tensor, sparsity: float, pattern: tuple[int, int] | None, damping: float
) -> tuple[Tensor, Tensor]:
    """(mask bool [O, I], new weight [O, I]) of a matrix whose inputs have the second moment [I, I].

    Minimizes ‖(W − W₀) X‖² under the mask. Weights compete over the whole matrix, or with ``pattern``
    (N, M) in every M neighbours of a row. Raises NumericalError when the damped moment cannot be factorized.
    """
    moment = damped(moment, damping)
    norm = moment.diagonal().sqrt()
    even = moment / norm[:, None] / norm
    target = weight.float() * norm @ even
    inverse = torch.cholesky_inverse(
        factorized(even + PULL * torch.eye(len(even), device=even.device))
    )
    wanted = weight.float() * norm
    for step in range(1, TIGHTENING):
        if pattern is None:
            mask = _above(wanted.abs(), sparsity * (1 - (1 - step / TIGHTENING) ** 3))
        else:
            mask = keep_largest(wanted.abs(), sparsity, pattern, per_row=False)
        kept = wanted * mask
        debt = wanted - kept
        wanted = (target + PULL * (kept - debt)) @ inverse + debt
    mask = keep_largest(wanted.abs(), sparsity, pattern, per_row=False)
    return mask, _settled(wanted * mask, mask, target, even) / norm


def _settled(start: Tensor, mask: Tensor, target: Tensor, moment: Tensor) -> Tensor:
    """Conjugate gradients for W M = ``target`` on the kept entries of every row [O, I]; what is masked stays 0."""
    left = torch.where(mask, target - start @ moment, 0.0)
    along, power, solved = left, left.square().sum(1, keepdim=True), start
    for _ in range(SETTLING):
        through = torch.where(mask, along @ moment, 0.0)
        step = power / (along * through).sum(1, keepdim=True).clamp_min(TINY)
        solved, left = solved + step * along, left - step * through
        before, power = power, left.square().sum(1, keepdim=True)
        along = left + power / before.clamp_min(TINY) * along
    return torch.where(mask, solved, 0.0)


def _above(score: Tensor, share: float) -> Tensor:
    """True where ``score`` is above its ``share`` quantile, by a sample."""
    sample = score.flatten()[:: max(1, score.numel() // SAMPLE)]
    return score > sample.kthvalue(max(1, int(share * len(sample)))).values
