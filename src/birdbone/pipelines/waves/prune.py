"""Stage 5: remove what does least, repair what that leaves."""

from __future__ import annotations

from birdbone.algo.budget import bytes_allowed
from birdbone.algo.stop_loss import may_prune, why_not
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.observing.activations import Clusters
from birdbone.model.pruning.prune import prune, sparsity_for, target_nodes
from birdbone.model.pruning.removal import block_parameters
from birdbone.pipelines.quantize.settings import QuantizeSettings
from birdbone.pipelines.waves.settings.prune import PruneSettings
from birdbone.text.texts import Texts

CHANGE = "removed"
"""What kind of change this wave makes, for its report; other kinds of waves convert or merge."""


def prune_wave(
    start: Checkpoint,
    before: dict,
    node_scores: tuple,
    clusters: Clusters,
    texts: Texts,
    seed_metrics: dict,
    settings: PruneSettings,
    target_sparsity: float,
    target_bytes: float | None,
    widths: str,
    quantize: QuantizeSettings,
    device: str,
) -> tuple[Checkpoint, dict]:
    """Remove the least valuable nodes of every cluster and repair what they leave; mask weights if asked."""
    wave = before["wave"] + 1
    if not may_prune(before):
        report = {"changed": False, "removed": {}, "why": why_not(before)}
        return start, {"wave": wave, "change": CHANGE, **report}
    blocks = seed_metrics["block_parameters"]
    allowed = bytes_allowed(target_bytes, seed_metrics["bytes_f16"])
    affordable = sparsity_for(
        allowed, start, blocks, quantize.model_dump(), settings.model_dump(), widths
    )
    target = max(target_sparsity, affordable)
    step = settings.step * 0.5 ** before["halvings"]
    amount = target_nodes(block_parameters(start), blocks, step, target)
    pruned, report = prune(
        start,
        amount,
        node_scores[0],
        clusters.to_tensors()[0],
        texts.calibration,
        settings.model_dump(),
        widths,
        resolve_device(device),
    )
    return pruned, {"wave": wave, "change": CHANGE, "target_sparsity": target, **report}
