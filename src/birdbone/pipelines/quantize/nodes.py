"""Stage 9, first half: round onto GGUF grids; types are chosen by cost and judged by the guard."""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.algo.budget import assign, bytes_allowed
from birdbone.algo.perplexity import without_documents
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.hearing import Rule
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import Rounder
from birdbone.model.scores import Scores
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Accepted, Compute
from birdbone.pipelines.quantize.search import search
from birdbone.pipelines.quantize.settings import QuantizeSettings
from birdbone.pipelines.quantize.trials import Trials
from birdbone.pipelines.yardstick import Yardstick


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
) -> tuple[Quantized, dict, dict]:
    """Packed blocks per tensor with their types, how the choice was made, and every trial document
    by document.

    With ``target_bytes``: the least predicted cost that fits. Without: the smallest file that the
    guard accepts, searched in ``settings.trials`` measured steps.

    A file is accepted when its worst change plus ``settings.standard_errors`` of its own stays
    within ``max_loss``, and no benchmark task of the guard falls by more than it may. The standard
    errors are added because the guard's text is a sample, and the unseen test text another. The
    control counts only for a healed model. A model that is still the seed is judged against it.
    """
    accepted, texts = last.model, yardstick.texts
    allowed = bytes_allowed(limits.target_bytes, 2 * yardstick.seed.parameters)
    rounder = Rounder(
        accepted, texts.calibration, scan.second_moments, scan.node_scores, settings, compute.place
    )
    healed = accepted.digest != yardstick.seed.digest
    rule = Rule(
        limits.max_loss,
        settings.standard_errors,
        settings.error,
        limits.control.get("domains") if healed else None,
        compute.random_seed,
    )
    trials = Trials(rounder, yardstick, rule, limits.seed_tasks, compute)
    if allowed is None:
        spent = last.verdict.get("accepted_change", 0.0)
        search(trials.options, trials.measure, spent, limits.max_loss, settings.trials)
    else:
        trials.measure(assign(trials.options, max_bytes=allowed - trials.fixed))
    best = trials.best()
    state, packed = rounder.apply(best.types)
    report = {
        "accepted": best.accepted,
        "worst_domain": best.verdict.domain,
        "worst_change": best.verdict.change,
        "bound": best.verdict.bound,
        "limit": limits.max_loss,
        "method": settings.method,
        "tensor_bytes": best.bytes,
        "target_bytes": allowed,
        "target_reached": allowed is None or best.bytes <= allowed,
        "domains": without_documents(best.hearing.figures),
        "tasks": best.tasks,
        "tasks_lost": best.lost,
        "types": best.types,
        "counts": _counts(best.types),
        "zeros": _zeros(state, accepted),
        "trials": trials.report(),
    }
    return Quantized(packed, best.types), report, trials.record()


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
