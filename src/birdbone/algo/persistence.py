"""Persistent homology of node profiles, compared with that of nodes without structure.

Edelsbrunner and Harer, "Computational Topology", 2010; permutation p-values as Phipson and Smyth,
"Permutation p-values should never be zero", 2010. Legend: L landmarks, S sampled tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from birdbone.algo.topology import permuted, standardised

STATISTICS: dict[str, tuple[int, Callable[[np.ndarray], float], int]] = {
    "h0_total": (0, lambda bars: bars.sum(), -1),
    "h1_longest": (1, lambda bars: bars.max(initial=0.0), 1),
    "h1_total": (1, lambda bars: bars.sum(), 1),
}
"""Name -> (dimension, figure of the bars' lengths, side on which structure shows).

Nodes that respond alike join early, which shortens the bars of H0. A loop of responses is a long
bar of H1.
"""


@dataclass(frozen=True)
class Homology:
    """What a set of nodes shows and what it would show without structure.

    diagrams: dimension (0, 1) -> float64 [points, 2] of (birth, death) in 1 − Spearman correlation;
    the one component that never dies is left out. baseline: the diagrams of the first permutation.
    tests: statistic -> ``observed``, and over the permutations ``mean``, ``std``, ``effect``
    (distance from the mean in standard deviations, positive where structure would show; None where
    nothing varies) and ``p`` (one-sided).
    """

    landmarks: int
    diagrams: dict[int, Tensor]
    baseline: dict[int, Tensor]
    tests: dict[str, dict[str, float | None]]


def homology(profiles: Tensor, *, landmarks: int = 128, permutations: int = 19, random_seed: int = 0) -> Homology:
    """H0 and H1 of the Rips filtration on at most ``landmarks`` random nodes that vary.

    profiles: [nodes, S]. The baseline permutes each node's tokens, ``permutations`` times: as many
    nodes, each with its own values, none related to another. Time and memory depend on L alone,
    O(L³) at worst. The same seed gives the same result. Raises ValueError on profiles that are not
    finite, or without a permutation.
    """
    if permutations < 1:
        raise ValueError("a baseline needs at least one permutation")
    if profiles.dim() != 2 or not torch.isfinite(profiles).all():
        raise ValueError(f"profiles must be finite [nodes, tokens], got {tuple(profiles.shape)}")
    generator = torch.Generator().manual_seed(random_seed)
    varying = (profiles.amax(1) != profiles.amin(1)).nonzero()[:, 0]
    chosen = varying[torch.randperm(len(varying), generator=generator)[:landmarks].sort().values]
    points = standardised(profiles[chosen]) if len(chosen) else torch.zeros(0, profiles.shape[1])
    observed = diagrams(points)

    drawn = [diagrams(permuted(points, generator)) for _ in range(permutations)]
    return Homology(
        landmarks=len(chosen),
        diagrams=observed,
        baseline=drawn[0],
        tests={name: _compared(observed, drawn, name) for name in STATISTICS},
    )


def diagrams(points: Tensor) -> dict[int, Tensor]:
    """Finite bars of H0 and H1 of standardised rows [L, S], coefficients in Z/2."""
    if len(points) < 2:
        return {dimension: torch.zeros(0, 2, dtype=torch.float64) for dimension in (0, 1)}
    from gudhi.sklearn.rips_persistence import RipsPersistence

    distance = (1 - points @ points.T).clamp(min=0).double()
    distance.fill_diagonal_(0)
    rips = RipsPersistence(homology_dimensions=[0, 1], input_type="full distance matrix", homology_coeff_field=2)
    bars_by_dimension = rips.fit_transform([distance.numpy()])[0]
    finite = [[bar for bar in bars if np.isfinite(bar[1])] for bars in bars_by_dimension]
    return {dimension: torch.from_numpy(np.array(bars).reshape(-1, 2)) for dimension, bars in enumerate(finite)}


def _figure(diagrams: dict[int, Tensor], statistic: str) -> float:
    dimension, figure, _ = STATISTICS[statistic]
    lengths = diagrams[dimension][:, 1] - diagrams[dimension][:, 0]
    return float(figure(lengths.numpy()))


def _compared(diagrams: dict[int, Tensor], draws: list[dict[int, Tensor]], statistic: str) -> dict[str, float | None]:
    side = STATISTICS[statistic][2]
    observed = _figure(diagrams, statistic)
    null = np.array([_figure(draw, statistic) for draw in draws])
    std = float(null.std())
    return {
        "observed": observed,
        "mean": float(null.mean()),
        "std": std,
        "effect": side * (observed - float(null.mean())) / std if std > 1e-12 else None,
        "p": (1 + int((side * (null - observed) >= 0).sum())) / (1 + len(draws)),
    }
