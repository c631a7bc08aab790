"""Which nodes a wave removes: the cheapest chunks model-wide, within every cluster's cap."""

from __future__ import annotations

import torch
from torch import Tensor


def eligible(values: Tensor, clusters: Tensor, kept: Tensor, cap: float) -> Tensor:
    """Neurons of one layer that may go, cheapest first: numbers into the layer [<= width].

    values, clusters, kept: [width] (importance, cluster label, bool still there). From each cluster
    at most ``cap`` of its present members, the least valuable, and never all of them.
    """
    chosen = []
    for label in clusters[kept].unique():
        members = torch.nonzero(kept & (clusters == label)).flatten()
        limit = min(int(cap * len(members)), len(members) - 1)
        chosen.append(members[values[members].argsort(stable=True)[:limit]])
    candidates = torch.cat(chosen) if chosen else torch.empty(0, dtype=torch.long)
    return candidates[values[candidates].argsort(stable=True)]


def eligible_across(
    values: dict[int, Tensor], clusters: dict[int, Tensor], kept: dict[int, Tensor], cap: float
) -> dict[int, Tensor]:
    """``eligible`` with clusters that span layers: layer -> neurons that may go, cheapest first.

    The cap holds for a whole cluster. A cluster may lose more than that share in one layer and less
    in another.
    """
    layers = list(values)
    widths = [len(values[i]) for i in layers]
    joined = (torch.cat([part[i] for i in layers]) for part in (values, clusters, kept))
    candidates = eligible(*joined, cap)
    starts = torch.tensor([0, *widths]).cumsum(0)
    inside = [
        candidates[(candidates >= start) & (candidates < end)] - start
        for start, end in zip(starts, starts[1:], strict=False)
    ]
    return dict(zip(layers, inside, strict=True))


def cheapest_chunks(
    values: dict[int, Tensor],
    order: dict[int, Tensor],
    widths: dict[int, int],
    nodes: int,
    multiple: int,
    even: bool,
) -> dict[int, Tensor]:
    """Neurons to remove per layer, about ``nodes`` in all; widths stay multiples of ``multiple``.

    values: layer -> importance [seed's width]; order: layer -> eligible neurons, cheapest first;
    widths: layer -> present width. ``even``: every layer loses equally many.
    """
    if even:
        room = min(_chunk_ends(widths[i], len(order[i]), multiple)[-1] for i in order)
        share = [end for end in _chunk_ends(min(widths.values()), room, multiple) if end * len(order) <= nodes]
        take = max(share, default=0)
        return {i: order[i][:take] for i in order if take}
    chunks = []
    for layer, neurons in order.items():
        ends = _chunk_ends(widths[layer], len(neurons), multiple)
        for start, end in zip(ends, ends[1:], strict=False):
            cost = float(values[layer][neurons[start:end]].double().sum()) / (end - start)
            chunks.append((cost, layer, end - start))
    removed: dict[int, int] = {}
    total = 0
    for _, layer, size in sorted(chunks):
        if total + size <= nodes:
            removed[layer] = removed.get(layer, 0) + size
            total += size
    return {layer: order[layer][:count] for layer, count in sorted(removed.items())}


def cheapest_groups(
    values: dict[int, Tensor],
    kept: dict[int, Tensor],
    limit: int,
    price: float,
    protected: tuple[int, ...] = (),
) -> list[tuple[int, int]]:
    """Key-value groups to remove, model-wide: (layer, group), cheapest first, ``limit`` at most.

    values, kept: layer -> [groups]. Only groups that cost less than ``price`` go, and a layer
    never loses its last one nor, in ``protected`` layers, any.
    """
    candidates = sorted(
        (float(values[i][g]), i, int(g)) for i in values if i not in protected for g in torch.nonzero(kept[i]).flatten()
    )
    remaining = {i: int(kept[i].sum()) for i in kept}
    chosen = []
    for value, layer, group in candidates:
        if value < price and remaining[layer] > 1 and len(chosen) < limit:
            chosen.append((layer, group))
            remaining[layer] -= 1
    return chosen


def _chunk_ends(width: int, available: int, multiple: int) -> list[int]:
    """0 and every count of removals that leaves a positive multiple of ``multiple``."""
    first = width % multiple or multiple
    return [0, *range(first, min(available, width - multiple) + 1, multiple)]
