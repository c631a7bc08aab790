"""What silencing an expert costs its own domain, beyond random nodes and beyond other domains.

Legend: W windows, D domains, R random sets, E experts, B bootstrap draws. A change is the mean loss
of a window with the expert silenced, less that of the intact model, in nats per token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from birdbone.algo.bootstrap import draws, with_quantiles

RESAMPLES = 2000


@dataclass(frozen=True)
class Effects:
    """(estimate, low, high) each, nats per token, 95 %.

    change: silencing the set, on its own domains. effect: the change less its mean over the random
    sets. others: the mean effect on the other domains. selectivity: effect less others. domains:
    [D] the effect on each domain, without intervals. above: share of the random sets that hurt the
    expert's own domains less than the expert does.
    """

    change: tuple[float, float, float]
    effect: tuple[float, float, float]
    others: tuple[float, float, float]
    selectivity: tuple[float, float, float]
    domains: list[float]
    above: float


def effects(
    changes: ArrayLike,
    random_changes: ArrayLike,
    own_domains: list[list[int]],
    domain: ArrayLike,
    random_seed: int = 0,
) -> tuple[list[Effects], Effects]:
    """Each expert's effects, and their mean over the experts.

    changes: [E, W]; random_changes: [E, R, W]; own_domains: the domains of each expert, never all;
    domain: [W]. The bootstrap draws windows anew within each domain, the same for every expert. It
    also draws each expert's random sets anew, so that the intervals carry both. Raises ValueError
    when a domain has fewer than two windows, when there are fewer than two random sets, or when a
    figure is not finite.
    """
    changes = np.asarray(changes)
    random_changes = np.asarray(random_changes)
    domain = np.asarray(domain)
    names = np.unique(domain)
    if min(int((domain == d).sum()) for d in names) < 2 or random_changes.shape[1] < 2:
        raise ValueError("intervals need at least two windows of each domain and two random sets")
    if not np.isfinite(changes).all() or not np.isfinite(random_changes).all():
        raise ValueError("a change of loss is not finite")
    inside_D = [domain == name for name in names]
    weights_D = [
        _with_estimate(draws(int(inside.sum()), RESAMPLES, random_seed + 1 + i)) for i, inside in enumerate(inside_D)
    ]
    experts, random_sets, _ = random_changes.shape
    sets = draws(random_sets, RESAMPLES * experts, random_seed).reshape(experts, RESAMPLES, -1)
    pairs = list(zip(weights_D, inside_D, strict=True))
    rows = []
    for expert, (change_W, random_RW) in enumerate(zip(changes, random_changes, strict=True)):
        sets_BR = _with_estimate(sets[expert])
        plain = np.stack([w @ change_W[inside] for w, inside in pairs])
        random = np.stack([((w @ random_RW[:, inside].T) * sets_BR).sum(1) for w, inside in pairs])
        rows.append(_figures(plain, plain - random, np.isin(names, own_domains[expert])))
    means_RD = [
        np.stack([random_changes[e][:, domain == d].mean(1) for d in own_domains[e]]).mean(0) for e in range(experts)
    ]
    above = [float((m < row["change"][0]).mean()) for m, row in zip(means_RD, rows, strict=True)]
    mean = {name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}
    each = [_summed(row, share) for row, share in zip(rows, above, strict=True)]
    return each, _summed(mean, float(np.mean(above)))


def _with_estimate(draws_BN: np.ndarray) -> np.ndarray:
    """Weights [1 + B, N] that sum to 1: even ones for the estimate, then one row per draw."""
    count = draws_BN.shape[1]
    return np.vstack([np.ones(count), draws_BN]) / count


def _figures(plain_DB: np.ndarray, effect_DB: np.ndarray, own_D: np.ndarray) -> dict[str, np.ndarray]:
    """The first column of each is the estimate, the rest are bootstrap draws."""
    effect = effect_DB[own_D].mean(0)
    others = effect_DB[~own_D].mean(0)
    return {
        "change": plain_DB[own_D].mean(0),
        "effect": effect,
        "others": others,
        "selectivity": effect - others,
        "domains": effect_DB[:, 0],
    }


def _summed(row: dict[str, np.ndarray], above: float) -> Effects:
    intervals = {n: with_quantiles(x[0], x[1:], 0.95) for n, x in row.items() if n != "domains"}
    return Effects(**intervals, domains=[float(x) for x in row["domains"]], above=above)


def judgement(expert: Effects) -> str:
    """``holds``, ``not selective``, ``not above random`` or ``does not hold``."""
    hurts = expert.effect[1] > 0
    selective = expert.selectivity[1] > 0
    if hurts and selective:
        return "holds"
    return "not selective" if hurts else "not above random" if selective else "does not hold"


def verdict(experts: list[Effects], mean: Effects) -> str:
    """``holds`` where the mean and most experts do; ``holds in part`` where only the mean does."""
    if judgement(mean) != "holds":
        return "does not hold"
    holding = sum(judgement(expert) == "holds" for expert in experts)
    return "holds" if holding * 2 > len(experts) else "holds in part"
