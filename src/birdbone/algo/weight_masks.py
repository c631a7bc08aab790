"""Masks inside a weight matrix, by every method: unstructured or N:M.

Legend: O rows (outputs), I columns (inputs). Masks are bool [O, I], True = kept.
"""

from __future__ import annotations

from torch import Tensor

from birdbone.algo.admm import admm
from birdbone.algo.moments import inverse_factor
from birdbone.algo.sparsegpt import sparsegpt
from birdbone.algo.topk_mask import keep_largest

SOLVERS = {"sparsegpt": sparsegpt, "admm": admm}


def mask_weight(
    weight: Tensor,
    moment: Tensor,
    method: str,
    sparsity: float,
    pattern: tuple[int, int] | None = None,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """(mask, new weight) for a matrix [O, I] with its inputs' second moment [I, I].

    method: ``magnitude``, ``wanda`` (Sun et al. 2023, arXiv:2306.11695), or a solver, which makes
    the kept weights compensate for the removed ones: ``sparsegpt``, ``admm``. pattern: (N, M) keeps
    N of every M neighbours in a row and overrides ``sparsity``.
    """
    if method in SOLVERS:
        return SOLVERS[method](weight, moment, sparsity, pattern, damping)
    score = weight.abs()
    if method == "wanda":
        score = score * moment.diagonal().clamp_min(0).sqrt()
    mask = keep_largest(score, sparsity, pattern, per_row=method == "wanda")
    return mask, weight * mask


def saliency(weight: Tensor, moment: Tensor, method: str, damping: float = 0.01) -> Tensor:
    """Output error [O, I] that removing one weight alone makes, by the method's own measure.

    ``magnitude``: w². ``wanda``: w²·Σ_t x². Solvers: w² / [H⁻¹]_jj, the error that remains after
    the other columns have made up for it (Optimal Brain Surgeon).
    """
    squared = weight.float().square()
    if method == "magnitude":
        return squared
    if method == "wanda":
        return squared * moment.diagonal().clamp_min(0)
    return squared / inverse_factor(moment, damping).square().sum(0)
