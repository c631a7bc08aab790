"""Stage 5: remove the nodes of least value and compensate for them."""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.algo.budget import bytes_allowed
from birdbone.algo.stop_loss import may_prune, why_not
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.pruning.prune import prune, sparsity_for, weights_to_go
from birdbone.model.scores import Scores
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.quantize.settings import QuantizeSettings
from birdbone.pipelines.waves.settings.prune import PruneSettings
from birdbone.text.texts import Texts

CHANGE = "removed"
"""The kind of change that a pruning wave makes, for its report."""


@dataclass(frozen=True)
class Look(Together):
    """What is known of the seed's parts, and the text it was learnt on."""

    node_scores: Scores
    second_moments: SecondMoments
    clusters: Clusters
    texts: Texts


@dataclass(frozen=True)
class Goal(Together):
    """How far all waves together may go; ``target_bytes`` counts a file of these types."""

    seed_metrics: dict
    target_sparsity: float
    target_bytes: float | None
    widths: str
    rounding: QuantizeSettings


def prune_wave(
    start: Checkpoint,
    before: dict,
    look: Look,
    goal: Goal,
    settings: PruneSettings,
    device: str,
) -> tuple[Checkpoint, dict]:
    """Remove the least valuable nodes of every cluster, compensate, and mask weights if set."""
    wave = before["wave"] + 1
    if not may_prune(before):
        report = {"changed": False, "removed": {}, "why": why_not(before)}
        return start, {"wave": wave, "change": CHANGE, **report}
    blocks = goal.seed_metrics["block_parameters"]
    allowed = bytes_allowed(goal.target_bytes, goal.seed_metrics["bytes_f16"])
    affordable = sparsity_for(allowed, start, blocks, goal.rounding, settings, goal.widths)
    target = max(goal.target_sparsity, affordable)
    step = settings.step * 0.5 ** before["halvings"]
    weights_to_remove = weights_to_go(start.block_parameters, blocks, step, target)
    pruned, report = prune(
        start,
        weights_to_remove,
        look.node_scores,
        look.clusters,
        look.texts.calibration,
        look.second_moments,
        settings,
        goal.widths,
        resolve_device(device),
    )
    return pruned, {"wave": wave, "change": CHANGE, "target_sparsity": target, **report}
