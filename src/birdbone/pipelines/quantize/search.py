"""The search for the smallest file that the guard accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from birdbone.algo.budget import Option, assign

AIM = 0.9
"""Share of the remaining limit that the search aims at."""
NEAR = 0.98
"""Share of the limit from which an accepted trial ends the search."""


class Tried(Protocol):
    """A choice of types that was measured: its predicted cost (nats per token), the guard's bound
    and verdict.
    """

    predicted: float
    bound: float
    accepted: bool


def search(
    options: dict[str, list[Option]],
    measure: Callable[[dict[str, str]], Tried],
    spent: float,
    limit: float,
    trials: int,
) -> None:
    """Search for the fewest bytes that just fit ``limit``, along the line of measured changes.

    ``spent``: the change that the waves already cost, taken as that of the finest types. Predicted
    costs are nats per token, to first order the change itself. The first step uses them alone.
    Where no trial passes, one more measures the finest types. Where the next coarser type costs far
    more than the limit leaves room for, the same types come up again, which ends the search. So
    does an accepted trial near the limit.
    """
    smallest = cost_of(options, assign(options, max_bytes=0))
    floor = cost_of(options, assign(options, max_cost=0.0))
    passed = [(floor, spent)]
    failed = []
    again = False
    for _ in range(trials):
        trial = measure(assign(options, max_cost=aim(passed, failed, limit, again)))
        again = not trial.accepted
        repeated = any(trial.predicted == predicted for predicted, _ in passed[1:])
        (passed if trial.accepted else failed).append((trial.predicted, trial.bound))
        if trial.accepted and (trial.predicted >= smallest or trial.bound >= NEAR * limit):
            break
        if repeated and not failed:
            break
    if len(passed) == 1:
        measure(assign(options, max_cost=floor))


def aim(
    passed: list[tuple[float, float]], failed: list[tuple[float, float]], limit: float, again: bool
) -> float:
    """The predicted cost to try next, from (predicted, measured) points.

    The first point of ``passed`` is a guess. ``again``: the last step failed.

    - Between the costliest that passed and the cheapest that failed: by the line through both. Half
      way where the last step failed, since measured changes are not smooth.
    - Where none failed: beyond the last two that passed, at first with predicted as measured.
    - After two failures with only the guess passed: by the line through the failures, since the
      guess was too low.
    - Where the cheapest failure is within the limit: half way, since a benchmark task failed, which
      no line predicts.
    """
    low = max(passed)
    high = min(failed, default=None)
    if high is None:
        cheaper = [point for point in passed if point[0] < low[0]]
        before = max(cheaper, default=(low[0] - 1.0, low[1] - 1.0))
        slope = max((low[1] - before[1]) / (low[0] - before[0]), 0.1)
        return low[0] + AIM * (limit - low[1]) / slope
    if high[1] <= limit:
        return (low[0] + high[0]) / 2
    if len(passed) == 1 and len(failed) > 1:
        low = high
        far, worst = max(failed)
        slope = max((worst - low[1]) / max(far - low[0], 1e-12), 0.5)
        return max(passed[0][0], low[0] - (low[1] - AIM * limit) / slope)
    slope = max((high[1] - low[1]) / max(high[0] - low[0], 1e-12), 1e-12)
    line = low[0] + AIM * max(limit - low[1], 0.0) / slope
    return (low[0] + high[0]) / 2 if again and len(passed) > 1 else line


def size_of(options: dict[str, list[Option]], types: dict[str, str]) -> int:
    """Bytes of all tensors of these types."""
    return sum(next(o.bytes for o in options[n] if o.type == t) for n, t in types.items())


def cost_of(options: dict[str, list[Option]], types: dict[str, str]) -> float:
    """What these types cost together, as predicted (nats per token)."""
    return sum(next(o.cost for o in options[n] if o.type == t) for n, t in types.items())
