"""What a set of nodes is for: the domains it matters to more than its layers do, what fires it.

Legend: D domains, N nodes of a layer, S sampled tokens, R random sets. A set of nodes is ``layer ->
numbers into the layer``. ``values`` are ``layer -> [D, N]``, not negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Nodes = dict[int, Tensor]
SMALL = 1e-30
"""Keeps the logarithm of a set that does nothing finite."""


@dataclass(frozen=True)
class Selectivity:
    """How a set of nodes divides its importance among the domains.

    enrichment: [D] log2 of the members' mean over the mean of as many nodes of the same layers.
    selectivity: [D] enrichment less its mean over the other domains. threshold: [D] what random
    sets of equal size and layers exceed in only ``level`` / D of the draws. labels: domains whose
    selectivity exceeds their threshold, the furthest first.
    """

    enrichment: Tensor
    selectivity: Tensor
    threshold: Tensor
    labels: list[int]


def selectivity(
    values: dict[int, Tensor],
    sets: list[Nodes],
    *,
    draws: int = 200,
    level: float = 0.05,
    random_seed: int = 0,
) -> list[Selectivity]:
    """Which domains each set of nodes is for, against ``draws`` random sets of its size and layers.

    A domain is a label when the set's selectivity for it is above what chance gives (Bonferroni
    over the domains). A set without preference gets any label with probability ``level`` at most.
    All sets are compared with the same random orders of each layer, [draws, N] at a time.
    """
    generator = torch.Generator().manual_seed(random_seed)
    domains = len(next(iter(values.values())))
    observed, expected = (torch.zeros(len(sets), domains, dtype=torch.float64) for _ in range(2))
    null = torch.zeros(len(sets), domains, draws, dtype=torch.float64)
    for layer in sorted({layer for members in sets for layer in members}):
        here = values[layer].double()
        order = torch.rand(draws, here.shape[1], generator=generator).argsort(1)
        firsts = here[:, order].cumsum(-1)
        for place, members in enumerate(sets):
            if layer in members:
                observed[place] += here[:, members[layer]].sum(1)
                expected[place] += here.mean(1) * len(members[layer])
                null[place] += firsts[:, :, len(members[layer]) - 1]
    return [_judged(*one, level) for one in zip(observed, expected, null, strict=True)]


def firing(profiles: dict[int, Tensor], members: Nodes) -> Tensor:
    """How strongly a set fires at each sampled token [S], 1 being its members' average.

    It is the mean over the members of |h| divided by the member's own mean. profiles: layer ->
    [N, S]. Silent nodes count as 0.
    """
    rows = torch.cat([profiles[i][nodes].float().abs() for i, nodes in members.items()])
    mean = rows.mean(1, keepdim=True)
    return (rows / mean.where(mean > 0, 1.0)).mean(0)


def random_sets(widths: dict[int, int], members: Nodes, count: int, random_seed: int) -> list[Nodes]:
    """``count`` sets with as many nodes in each layer, drawn from the layer's other nodes.

    Where fewer others are left than the set has members, members fill up.
    """
    generator = torch.Generator().manual_seed(random_seed)
    sets = []
    for _ in range(count):
        drawn = {}
        for layer, nodes in members.items():
            place = torch.rand(widths[layer], generator=generator)
            place[nodes] += 1.0
            drawn[layer] = place.argsort()[: len(nodes)].sort().values
        sets.append(drawn)
    return sets


def members_of(labels: dict[int, Tensor], layer: int | None, label: int) -> Nodes:
    """The nodes of one cluster: of one layer, or (None) of all layers that have some."""
    layers = labels if layer is None else [layer]
    members = {i: (labels[i] == label).nonzero()[:, 0] for i in layers}
    return {i: nodes for i, nodes in members.items() if len(nodes)}


def _judged(observed: Tensor, expected: Tensor, null: Tensor, level: float) -> Selectivity:
    enrichment = _log2(observed) - _log2(expected)
    contrast = _contrast(enrichment)
    chance = _contrast(_log2(null) - _log2(expected)[:, None])
    threshold = chance.quantile(1 - level / len(observed), dim=1)
    order = (contrast - threshold).argsort(descending=True, stable=True).tolist()
    labels = [d for d in order if contrast[d] > threshold[d]]
    return Selectivity(enrichment, contrast, threshold, labels)


def _contrast(enrichment: Tensor) -> Tensor:
    """Each domain's value less the mean of the others, along the first dimension."""
    count = len(enrichment)
    return (enrichment - enrichment.mean(0)) * (count / (count - 1))


def _log2(x: Tensor) -> Tensor:
    return x.clamp(min=SMALL).log2()
