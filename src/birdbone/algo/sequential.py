"""A verdict before all documents are read: bounds that hold at every look.

Documents are read in random order without replacement. After any number of them an interval says
where the figure of the full reading will lie, and one error probability covers all looks together.
The interval is the normal mixture's (Howard, Ramdas, McAuliffe and Sekhon 2021, eq. 14) on the
martingale of a sample without replacement (Serfling 1974), with the spread estimated from what was
read. It holds for many documents (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024), so ``FEW``
are read first.
Legend: D documents, of which t are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

FEW = 8
"""Documents before which nothing is said."""


@dataclass(frozen=True)
class Foreseen:
    """What the full reading will say of a relative perplexity change: its value, with an interval
    low to high, and the bound that the guard asks (the change plus its standard errors), with the
    interval that follows.
    """

    change: float
    bound: float
    bound_low: float
    bound_high: float


def foresee(
    nll_a: ArrayLike,
    nll_b: ArrayLike,
    counts: ArrayLike,
    total: tuple[int, float],
    errors: float,
    error: float,
    helper: ArrayLike | None = None,
) -> Foreseen:
    """The relative change of perplexity from model a to model b that all documents will show.

    nll_a, nll_b: [t] summed negative log-likelihood of the documents read (nats); counts: [t]
    tokens scored. total: all documents, all tokens. errors: standard errors that the bound adds.
    error: chance, over all looks together, that an interval misses. helper: [t] another model's
    ``deviations`` on the same documents; what they explain needs no reading.
    The interval also allows for the standard errors, which are estimated from what was read: of a
    distribution whose kurtosis is 5, a variance is known so well.
    Raises ValueError below ``FEW`` documents.
    """
    change_t = np.asarray(nll_b, float) - np.asarray(nll_a, float)
    counts_t = np.asarray(counts, float)
    read, (documents, tokens) = len(change_t), total
    if read < min(FEW, documents):
        raise ValueError(f"{read} documents are too few to foresee anything")
    rate = change_t.sum() / counts_t.sum()
    deviation_t = rest_t = _centred(change_t, counts_t)
    if helper is not None:
        rest_t, rate = _explained(change_t, counts_t, np.asarray(helper, float))
    few = np.sqrt(documents / max(1, documents - 1))
    per_token = documents / tokens
    wide = deviation_t.std(ddof=1)
    unsure = np.hypot(rest_t.std(ddof=1), errors * wide / np.sqrt(documents))
    unsure *= np.sqrt((read - 1) / max(1, read - 3))  # the spread of Student's t
    radius = _radius(unsure, read, documents, error) * per_token
    added = errors * few * np.exp(rate) * deviation_t.std() / np.sqrt(documents) * per_token
    change, low, high = (np.expm1(r) for r in (rate, rate - radius, rate + radius))
    return Foreseen(*(float(v) for v in (change, change + added, low + added, high + added)))


def deviations(nll_a: ArrayLike, nll_b: ArrayLike, counts: ArrayLike) -> np.ndarray:
    """[D] what each document's change is above its share of the whole: later models' ``helper``.
    Sums to zero.
    """
    return _centred(np.asarray(nll_b, float) - np.asarray(nll_a, float), np.asarray(counts, float))


def _explained(
    change_t: np.ndarray, counts_t: np.ndarray, helper_t: np.ndarray
) -> tuple[np.ndarray, float]:
    """(deviations [t] that the helper leaves, rate of the whole), by regression on the helper."""
    own_t, other_t = _centred(change_t, counts_t), _centred(helper_t, counts_t)
    spread = other_t @ other_t
    slope = other_t @ own_t / spread if spread else 0.0
    rest_t = change_t - slope * helper_t
    return _centred(rest_t, counts_t), rest_t.sum() / counts_t.sum()


def _centred(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Values above what their counts' share of the sum is."""
    return values - counts * values.sum() / counts.sum()


def _radius(spread: float, read: int, documents: int, error: float) -> float:
    """Half the interval of the mean over all documents; tightest where half of them are read."""
    if read >= documents:
        return 0.0
    if error == 0:
        return float("inf")
    left = documents - read
    variance = spread**2 * read / (documents * left)
    chance = 2 * np.log(1 / error)
    mixing = spread**2 / documents / (chance + np.log1p(chance))
    if mixing == 0:
        return 0.0
    sum_ = variance + mixing
    return float(np.sqrt(sum_ * (np.log(sum_ / mixing) + chance)) * left / read)
