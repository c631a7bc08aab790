"""Masks inside a weight matrix: magnitude, Wanda and SparseGPT; unstructured or N:M.

Legend: O rows (outputs), I columns (inputs). Masks are bool [O, I], True = kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.moments import damped
from birdbone.errors import NumericalError


def mask_weight(
    weight: Tensor,
    moment: Tensor,
    method: str,
    sparsity: float,
    pattern: tuple[int, int] | None = None,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """(mask, new weight) for a matrix [O, I] with its inputs' second moment [I, I].

    method: ``magnitude``, ``wanda`` (Sun et al. 2023) or ``sparsegpt`` (Frantar & Alistarh 2023).
    pattern: (N, M) keeps N of every M neighbours in a row and overrides ``sparsity``.
    """
    if method == "sparsegpt":
        return _sparsegpt(weight, moment, sparsity, pattern, damping)
    score = weight.abs()
    if method == "wanda":
        score = score * moment.diagonal().clamp_min(0).sqrt()
    per_row = method == "wanda"
    mask = keep_largest(score, sparsity, pattern, per_row)
    return mask, weight * mask


def saliency(weight: Tensor, moment: Tensor, method: str, damping: float = 0.01) -> Tensor:
    """Output error [O, I] that removing one weight alone makes, by the method's own measure.

    ``magnitude``: w². ``wanda``: w²·Σ_t x². ``sparsegpt``: w² / [H⁻¹]_jj, what is left after the other
    columns have made up for it (Optimal Brain Surgeon).
    """
    squared = weight.float().square()
    if method == "magnitude":
        return squared
    if method == "wanda":
        return squared * moment.diagonal().clamp_min(0)
    return squared / inverse_factor(moment, damping).square().sum(0)


def keep_largest(score: Tensor, sparsity: float, pattern: tuple[int, int] | None, per_row: bool) -> Tensor:
    """True where ``score`` [O, I] is among the largest of its row, its N:M group, or the matrix."""
    rows, columns = score.shape
    if pattern is not None:
        n, m = pattern
        groups = score.reshape(rows, columns // m, m)
        order = groups.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return (order < n).reshape(rows, columns)
    flat = score if per_row else score.reshape(1, -1)
    drop = int(round(sparsity * flat.shape[1]))
    rank = flat.argsort(dim=-1, stable=True).argsort(dim=-1)
    return (rank >= drop).reshape(rows, columns)


def _sparsegpt(
    weight: Tensor, moment: Tensor, sparsity: float, pattern: tuple[int, int] | None, damping: float, block: int = 128
) -> tuple[Tensor, Tensor]:
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


def inverse_factor(moment: Tensor, damping: float) -> Tensor:
    """Upper Cholesky factor U of the damped moment's inverse: H⁻¹ = Uᵀ U, float32 [I, I].

    Raises NumericalError when the damped moment is not positive definite.
    """
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(moment, damping).double()))
        return torch.linalg.cholesky(inverse, upper=True).float()
    except torch.linalg.LinAlgError as error:
        raise NumericalError(
            f"second moment of {moment.shape[0]} inputs cannot be factorized: raise the damping "
            "or give more calibration text"
        ) from error
