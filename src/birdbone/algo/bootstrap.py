"""Intervals for measured changes: the paired bootstrap over documents.

Tokens of one document are not independent, so whole documents are drawn again, the same draw for
both models (Efron and Tibshirani 1993, ch. 13; Koehn 2004 for paired resampling of text scores).
Legend: D documents, R resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def ratio_interval(
    nll_a: ArrayLike,
    nll_b: ArrayLike,
    counts: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Relative change of perplexity from model a to model b: (change, low, high).

    nll_a, nll_b: [D] summed negative log-likelihood per document (nats). counts: [D] tokens scored.
    change = exp(Σnll_b/Σcounts − Σnll_a/Σcounts) − 1, so 0.02 is 2 % worse than a.
    Memory: R·D integers. Raises ValueError on unequal lengths, fewer than two documents, or values
    that are not finite.
    """
    a_D, b_D, counts_D = _columns(nll_a, nll_b, counts)
    point = np.expm1((b_D - a_D).sum() / counts_D.sum())
    draws_RD = draws(len(counts_D), resamples, seed)
    changes_R = np.expm1(draws_RD @ (b_D - a_D) / (draws_RD @ counts_D))
    return with_quantiles(point, changes_R, level)


def mean_interval(
    totals: ArrayLike,
    counts: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Mean of a figure over documents: (mean, low, high).

    totals: [D] the figure summed over each document's tokens; counts: [D] those tokens (one each by
    default). Serves KL, top-1 agreement, and paired differences such as canaries after − before.
    Raises ValueError as ``ratio_interval`` does.
    """
    totals = np.asarray(totals, dtype=np.float64)
    totals_D, counts_D = _columns(totals, np.ones_like(totals) if counts is None else counts)
    draws_RD = draws(len(counts_D), resamples, seed)
    means_R = (draws_RD @ totals_D) / (draws_RD @ counts_D)
    return with_quantiles(totals_D.sum() / counts_D.sum(), means_R, level)


def _columns(*columns: ArrayLike) -> list[np.ndarray]:
    arrays = [np.asarray(column, dtype=np.float64).reshape(-1) for column in columns]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"every column needs one value per document, got lengths {lengths}")
    if lengths[0] < 2:
        raise ValueError(f"a bootstrap needs at least two documents, got {lengths[0]}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a document's figure is not finite")
    if (arrays[-1] <= 0).any():
        raise ValueError("a document without tokens cannot be resampled: leave it out")
    return arrays


def draws(documents: int, resamples: int, seed: int) -> np.ndarray:
    """[R, D] how often each document comes up in each resample of D documents."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(documents, np.full(documents, 1 / documents), size=resamples)


def with_quantiles(point: float, draws_R: np.ndarray, level: float) -> tuple[float, float, float]:
    """(point, low, high) from bootstrap draws [R]."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws_R, [tail, 1 - tail])
    return float(point), float(low), float(high)
