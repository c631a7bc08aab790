"""What silencing an expert costs its own domain, beyond random nodes and beyond the other domains.

Legend: W windows, D domains, R random sets, E experts, B bootstrap draws. Changes are of the mean loss
of a window, nats per token, silenced less intact.
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

    change: silencing the set, on its own domains. effect: the same less the mean over the random sets.
    others: that effect on the other domains, mean over them. selectivity: effect less others. domains:
    [D] effect on each domain, without intervals. above: share of the random sets that hurt its own
    domains less than it does.
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
    own: list[list[int]],
    domain: ArrayLike,
    random_seed: int = 0,
) -> tuple[list[Effects], Effects]:
    """Each expert's effects, and their mean over the experts.

    changes: [E, W]; random_changes: [E, R, W]; own: each expert's own domains (not all); domain: [W]. The
    bootstrap draws windows anew within each domain, the same for every expert, and each expert's
    random sets anew, so that the intervals carry both. Raises ValueError when a domain has under two windows,
    there are under two random sets, or a figure is not finite.
    """
    changes, random_changes, domain = (
        np.asarray(changes),
        np.asarray(random_changes),
        np.asarray(domain),
    )
    names = np.unique(domain)
    if min(int((domain == d).sum()) for d in names) < 2 or random_changes.shape[1] < 2:
        raise ValueError("intervals need at least two windows of each domain and two random sets")
    if not np.isfinite(changes).all() or not np.isfinite(random_changes).all():
        raise ValueError("a change of loss is not finite")
    weights_D = [
        draws(int((domain == d).sum()), RESAMPLES, random_seed + 1 + i) for i, d in enumerate(names)
    ]
    weights_D = [np.vstack([np.ones(w.shape[1]), w]) / w.shape[1] for w in weights_D]
    sets = draws(random_changes.shape[1], RESAMPLES * len(changes), random_seed).reshape(
        len(changes), RESAMPLES, -1
    )
    rows = []
    for expert, (change_W, random_RW) in enumerate(zip(changes, random_changes, strict=True)):
        sets_BR = np.vstack([np.ones(random_RW.shape[0]), sets[expert]]) / random_RW.shape[0]
        plain = np.stack([w @ change_W[domain == d] for w, d in zip(weights_D, names, strict=True)])
        random = np.stack(
            [
                ((w @ random_RW[:, domain == d].T) * sets_BR).sum(1)
                for w, d in zip(weights_D, names, strict=True)
            ]
        )
        rows.append(_figures(plain, plain - random, np.isin(names, own[expert])))
    means_RD = [
        np.stack([random_changes[e][:, domain == d].mean(1) for d in own[e]]).mean(0)
        for e in range(len(changes))
    ]
    above = [float((m < row["change"][0]).mean()) for m, row in zip(means_RD, rows, strict=True)]
    mean = {name: np.mean([row[name] for row in rows], axis=0) for name in rows[0]}
    return [_summed(row, a) for row, a in zip(rows, above, strict=True)], _summed(
        mean, float(np.mean(above))
    )


def _figures(
    plain_DB: np.ndarray, effect_DB: np.ndarray, own_D: np.ndarray
) -> dict[str, np.ndarray]:
    """The first column of each is the estimate, the rest are bootstrap draws."""
    effect, others = effect_DB[own_D].mean(0), effect_DB[~own_D].mean(0)
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


def judgement(one: Effects) -> str:
    """``holds``, ``not selective``, ``not above random`` or ``does not hold``."""
    hurts, selective = one.effect[1] > 0, one.selectivity[1] > 0
    if hurts and selective:
        return "holds"
    return "not selective" if hurts else "not above random" if selective else "does not hold"


def verdict(experts: list[Effects], mean: Effects) -> str:
    """``holds`` where the mean over the experts and most of them do, ``holds in part`` where the mean alone does."""
    if judgement(mean) != "holds":
        return "does not hold"
    return (
        "holds"
        if sum(judgement(e) == "holds" for e in experts) * 2 > len(experts)
        else "holds in part"
    )
