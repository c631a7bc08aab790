"""ADMM: a mask and the weights it keeps, solved for together (Boža 2024, arXiv:2401.02938).

SparseGPT decides column by column and never goes back. Here every round solves the whole
least-squares problem, pulled towards its own masked copy, and then chooses the mask again. A round
is one matrix product instead of a pass over the columns.
Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.moments import damped, factorized
from birdbone.algo.topk_mask import keep_largest

MASK_ROUNDS = 5
"""Rounds in which the mask grows to its size."""
GRADIENT_STEPS = 3
"""Steps of conjugate gradients under the final mask."""
PULL = 1.0
"""Weight of the pull to the masked copy. Each input's own power is 1 after scaling."""
TINY = 1e-30
SAMPLE = 1 << 16
"""Weights that the threshold of a round is set by."""


def admm(
    weight: Tensor, moment: Tensor, sparsity: float, pattern: tuple[int, int] | None, damping: float
) -> tuple[Tensor, Tensor]:
    """(mask bool [O, I], new weight [O, I]) of a matrix whose inputs have the second moment [I, I].

    Minimizes ‖(W − W₀) X‖² under the mask. Weights compete over the whole matrix, or with
    ``pattern`` (N, M) among every M neighbours of a row. Raises NumericalError when the damped
    moment cannot be factorized.
    """
    moment = damped(moment, damping)
    norm = moment.diagonal().sqrt()
    scaled = moment / norm[:, None] / norm  # its diagonal is 1
    target = weight.float() * norm @ scaled
    inverse = torch.cholesky_inverse(factorized(scaled + PULL * torch.eye(len(scaled), device=scaled.device)))
    shifted = weight.float() * norm
    for step in range(1, MASK_ROUNDS):
        if pattern is None:
            share = sparsity * (1 - (1 - step / MASK_ROUNDS) ** 3)
            mask = _above(shifted.abs(), share)
        else:
            mask = keep_largest(shifted.abs(), sparsity, pattern, per_row=False)
        sparse = shifted * mask
        dual = shifted - sparse
        dense = (target + PULL * (sparse - dual)) @ inverse
        shifted = dense + dual
    mask = keep_largest(shifted.abs(), sparsity, pattern, per_row=False)
    return mask, _settled(shifted * mask, mask, target, scaled) / norm


def _settled(start: Tensor, mask: Tensor, target: Tensor, moment: Tensor) -> Tensor:
    """Conjugate gradients for W M = ``target`` over the kept entries of every row [O, I]."""
    solution = start
    residual = torch.where(mask, target - start @ moment, 0.0)
    power = residual.square().sum(1, keepdim=True)
    direction = residual
    for _ in range(GRADIENT_STEPS):
        image = torch.where(mask, direction @ moment, 0.0)
        step = power / (direction * image).sum(1, keepdim=True).clamp_min(TINY)
        solution = solution + step * direction
        residual = residual - step * image
        earlier_power = power
        power = residual.square().sum(1, keepdim=True)
        direction = residual + power / earlier_power.clamp_min(TINY) * direction
    return torch.where(mask, solution, 0.0)


def _above(score: Tensor, share: float) -> Tensor:
    """True where ``score`` is above its ``share`` quantile, by a sample."""
    sample = score.flatten()[:: max(1, score.numel() // SAMPLE)]
    return score > sample.kthvalue(max(1, int(share * len(sample)))).values
