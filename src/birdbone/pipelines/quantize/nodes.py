"""Stage 9, first half: round onto GGUF grids; types are chosen by cost and judged by the guard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from birdbone.algo.budget import Option, assign, bytes_allowed
from birdbone.algo.perplexity import without_documents, worst_bound
from birdbone.gguf.plan import priced_together
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.harness import guarded
from birdbone.model.judging.judge import judge
from birdbone.model.network import build
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import Rounder
from birdbone.model.scores import Scores
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Accepted, Compute
from birdbone.pipelines.quantize.settings import QuantizeSettings
from birdbone.pipelines.yardstick import Yardstick

AIM = 0.9
"""Share of the remaining limit that the search aims at."""


@dataclass(frozen=True)
class Scan(Together):
    """What the seed's parts do, as scanned."""

    node_scores: Scores
    second_moments: SecondMoments


@dataclass(frozen=True)
class Limits(Together):
    """What the file may cost and weigh: tasks and control as measured on the seed."""

    seed_tasks: dict
    control: dict
    max_loss: float
    target_bytes: float | None


def quantize(
    last: Accepted,
    scan: Scan,
    yardstick: Yardstick,
    limits: Limits,
    settings: QuantizeSettings,
    compute: Compute,
) -> tuple[Quantized, dict]:
    """Packed blocks per tensor with their types, and how the choice was made.

    With ``target_bytes``: the least predicted cost that fits. Without: the smallest file that the
    guard accepts, searched in ``settings.trials`` measured steps.

    A file is accepted when its worst change plus ``settings.standard_errors`` of its own stays
    within ``max_loss``, and no benchmark task of the guard falls by more than it may. The standard
    errors are added because the guard's text is a sample, and the unseen test text another. The
    control counts only for a healed model. A model that is still the seed is judged against it.
    """
    accepted = last.model
    seed = yardstick.seed
    texts = yardstick.texts
    place = compute.place
    max_loss = limits.max_loss
    allowed = bytes_allowed(limits.target_bytes, 2 * seed.parameters)
    rounder = Rounder(
        accepted, texts.calibration, scan.second_moments, scan.node_scores, settings, place
    )
    options, members = priced_together(accepted, rounder.options)
    fixed = sum(4 * w.numel() for n, w in accepted.weights.items() if n not in rounder.options)
    trials: list[dict] = []
    healed = limits.control.get("domains") if accepted.digest != seed.digest else None

    def measure(chosen: dict[str, str]) -> dict:
        types = {n: kind for first, kind in chosen.items() for n in members[first]}
        state, _ = rounder.apply(types)
        figures = judge(build(state, place), yardstick.guard, texts.guard, compute.random_seed)
        domain, change, bound = worst_bound(
            figures, healed, settings.standard_errors, compute.random_seed
        )
        tasks = {}
        lost = {}
        if bound <= max_loss:
            tasks, lost = guarded(
                "rounded",
                state,
                yardstick.tokenizer_folder,
                limits.seed_tasks,
                compute.device,
                compute.random_seed,
            )
        trials.append(
            {
                "bytes": fixed + _size(options, chosen),
                "predicted": _cost(options, chosen),
                "worst_domain": domain,
                "worst_change": change,
                "bound": bound,
                "accepted": bound <= max_loss and not lost,
                "domains": figures,
                "tasks": tasks,
                "tasks_lost": lost,
                "types": types,
            }
        )
        return trials[-1]

    if allowed is None:
        spent = last.verdict.get("accepted_change", 0.0)
        _search(options, measure, spent, max_loss, settings.trials)
    else:
        measure(assign(options, max_bytes=allowed - fixed))
    passed = [t for t in trials if t["accepted"]]
    best = (
        min(passed, key=lambda t: t["bytes"]) if passed else min(trials, key=lambda t: t["bound"])
    )
    types = best["types"]
    state, packed = rounder.apply(types)
    report = {
        "accepted": best["accepted"],
        "worst_domain": best["worst_domain"],
        "worst_change": best["worst_change"],
        "bound": best["bound"],
        "limit": max_loss,
        "method": settings.method,
        "tensor_bytes": best["bytes"],
        "target_bytes": allowed,
        "target_reached": allowed is None or best["bytes"] <= allowed,
        "domains": without_documents(best["domains"]),
        "tasks": best["tasks"],
        "tasks_lost": best["tasks_lost"],
        "types": types,
        "counts": _counts(types),
        "zeros": _zeros(state, accepted),
        "trials": [
            {
                k: t[k]
                for k in ("bytes", "predicted", "worst_domain", "worst_change", "bound", "accepted")
            }
            for t in trials
        ],
    }
    return Quantized(packed, types), report


def _search(
    options: dict[str, list[Option]], measure: Callable, spent: float, limit: float, trials: int
) -> None:
    """Search for the fewest bytes that just fit ``limit``, along the line of measured changes.

    ``spent``: the change that the waves already cost, taken as that of the finest types. Predicted
    costs are nats per token, to first order the change itself. The first step uses them alone.
    Where no trial passes, one more measures the finest types. Where the next coarser type costs far
    more than the limit leaves room for, the same types come up again, which ends the search.
    """
    smallest = _cost(options, assign(options, max_bytes=0))
    floor = _cost(options, assign(options, max_cost=0.0))
    passed = [(floor, spent)]
    failed = []
    again = False
    for _ in range(trials):
        trial = measure(assign(options, max_cost=_aim(passed, failed, limit, again)))
        again = not trial["accepted"]
        repeated = any(trial["predicted"] == predicted for predicted, _ in passed[1:])
        (passed if trial["accepted"] else failed).append((trial["predicted"], trial["bound"]))
        if trial["accepted"] and trial["predicted"] >= smallest:
            break
        if repeated and not failed:
            break
    if len(passed) == 1:
        measure(assign(options, max_cost=floor))


def _aim(
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


def _size(options: dict[str, list[Option]], types: dict[str, str]) -> int:
    return sum(next(o.bytes for o in options[n] if o.type == t) for n, t in types.items())


def _cost(options: dict[str, list[Option]], types: dict[str, str]) -> float:
    return sum(next(o.cost for o in options[n] if o.type == t) for n, t in types.items())


def _counts(types: dict[str, str]) -> dict[str, int]:
    return {t: list(types.values()).count(t) for t in sorted(set(types.values()))}


def _zeros(state: Checkpoint, accepted: Checkpoint) -> dict[str, float]:
    """Share of exact zeros in masked tensors, as masked and after rounding."""
    masks = accepted.masks.weights
    total = sum(m.numel() for m in masks.values())
    if not total:
        return {}
    return {
        "asked": sum(int((~m).sum()) for m in masks.values()) / total,
        "after_rounding": sum(int((state.weights[n] == 0).sum()) for n in masks) / total,
    }
