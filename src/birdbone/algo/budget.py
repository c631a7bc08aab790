"""Budgets: how much to remove for a size, from which tensors, and which tensor gets which type."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Option(NamedTuple):
    """One way to store one tensor: its bytes and its predicted loss (nats per token)."""

    type: str
    bytes: int
    cost: float


def summed(parts: list[list[Option]]) -> list[Option]:
    """Options of tensors that must share one type: the types all have, bytes and costs summed."""
    by_type = [{o.type: o for o in options} for options in parts]
    shared = [o.type for o in parts[0] if all(o.type in others for others in by_type)]
    return [Option(t, sum(p[t].bytes for p in by_type), sum(p[t].cost for p in by_type)) for t in shared]


def bytes_allowed(target: float | None, bytes_f16: int) -> int | None:
    """The ``target_bytes`` parameter in bytes: a number below 1 is a share of ``bytes_f16``."""
    return target and int(target if target >= 1 else target * bytes_f16)


def needed_sparsity(target_bytes: int, fixed_bytes: int, block_weights: int, bits: float) -> float:
    """Share of the block weights that must go so that ``fixed_bytes`` and the rest at ``bits`` fit.

    0 when they fit as they are; 1 or more when the fixed part alone is too large.
    """
    return max(0.0, 1 - (target_bytes - fixed_bytes) * 8 / bits / block_weights)


def spread(costs: dict[str, Tensor], counts: dict[str, int], share: float, most: float = 0.95) -> dict[str, float]:
    """Tensor -> share of its weights to remove: ``share`` of all weights go, the cheapest first.

    costs: per tensor a sorted sample [S] of what removing one weight costs, in one unit for all
    tensors; counts: weights per tensor. No tensor loses more than ``most``.
    """
    total = share * sum(counts.values())

    def removed(limit: Tensor) -> dict[str, float]:
        return {n: min(most, int(torch.searchsorted(c, limit, right=True)) / len(c)) for n, c in costs.items()}

    limits = torch.cat(list(costs.values())).unique()
    low = 0
    high = len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        if sum(counts[n] * s for n, s in removed(limits[middle]).items()) < total:
            low = middle + 1
        else:
            high = middle
    return removed(limits[low])


def assign(
    options: dict[str, list[Option]], max_cost: float | None = None, max_bytes: int | None = None
) -> dict[str, str]:
    """Tensor -> type: the fewest bytes within ``max_cost``, or the least cost within ``max_bytes``.

    Starts from the least loss everywhere, then trades step by step where a saved byte costs least:
    a greedy walk down each tensor's convex hull.
    """
    chosen = {n: min(types, key=lambda o: (o.cost, o.bytes)) for n, types in options.items()}
    cost = sum(o.cost for o in chosen.values())
    size = sum(o.bytes for o in chosen.values())
    while max_bytes is None or size > max_bytes:
        trades = [
            ((o.cost - now.cost) / (now.bytes - o.bytes), name, o)
            for name, now in chosen.items()
            for o in options[name]
            if o.bytes < now.bytes
        ]
        if not trades:
            break
        _, name, option = min(trades, key=lambda t: (t[0], t[1]))
        after = cost + option.cost - chosen[name].cost
        if max_bytes is None and max_cost is not None and after > max_cost:
            options = {**options, name: [o for o in options[name] if o != option]}
            continue
        size += option.bytes - chosen[name].bytes
        cost = after
        chosen[name] = option
    return {name: option.type for name, option in chosen.items()}
