"""Stage 5: remove the nodes of least value and compensate for them."""

from __future__ import annotations

from birdbone.algo.budget import bytes_allowed
from birdbone.algo.stop_loss import may_prune, why_not
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.pruning.prune import prune, sparsity_for, weights_to_go
from birdbone.model.scores import Scores
from birdbone.pipelines.quantize.settings import QuantizeSettings
from birdbone.pipelines.waves.settings.prune import PruneSettings
from birdbone.text.texts import Texts

CHANGE = "removed"
"""The kind of change that a pruning wave makes, for its report."""


def prune_wave(
    start: Checkpoint,
    before: dict,
    node_scores: Scores,
    second_moments: SecondMoments,
    clusters: Clusters,
    texts: Texts,
    seed_metrics: dict,
    settings: PruneSettings,
    target_sparsity: float,
    target_bytes: float | None,
    widths: str,
    rounding: QuantizeSettings,
    device: str,
) -> tuple[Checkpoint, dict]:
    """Remove the least valuable nodes of every cluster, compensate, and mask weights if set."""
    wave = before["wave"] + 1
    if not may_prune(before):
        report = {"changed": False, "removed": {}, "why": why_not(before)}
        return start, {"wave": wave, "change": CHANGE, **report}
    blocks = seed_metrics["block_parameters"]
    allowed = bytes_allowed(target_bytes, seed_metrics["bytes_f16"])
    affordable = sparsity_for(allowed, start, blocks, rounding, settings, widths)
    target = max(target_sparsity, affordable)
    step = settings.step * 0.5 ** before["halvings"]
    weights_to_remove = weights_to_go(start.block_parameters, blocks, step, target)
    pruned, report = prune(
        start,
        weights_to_remove,
        node_scores,
        clusters,
        texts.calibration,
        second_moments,
        settings,
        widths,
        resolve_device(device),
    )
    return pruned, {"wave": wave, "change": CHANGE, "target_sparsity": target, **report}
