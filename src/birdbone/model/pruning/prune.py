"""One prune step on a checkpoint: choose nodes, remove them, repair the projections behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from birdbone.algo.budget import needed_sparsity
from birdbone.algo.grids import fewest_bits, fitting
from birdbone.algo.repair import repair_columns
from birdbone.algo.selection import cheapest_chunks, cheapest_groups, eligible, eligible_across
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.family import supports_uneven
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.pruning.removal import Stays, remove_nodes
from birdbone.model.pruning.settings import PruneSettings
from birdbone.model.pruning.weight_sparsity import mask_weights
from birdbone.model.rounding.embedding import outer_types
from birdbone.model.rounding.settings import RoundSettings
from birdbone.model.scores import Scores
from birdbone.model.units import Nodes


def prune(
    start: Checkpoint,
    weights_to_remove: int,
    scores: Scores,
    clusters: Clusters,
    calibration: Tensor,
    second_moments: SecondMoments,
    settings: PruneSettings,
    widths: str,
    device: str,
) -> tuple[Checkpoint, dict]:
    """The narrower, repaired checkpoint and a report of what went and what the repair did.

    scores: of the scan of ``calibration`` [N, T]; clusters: across layers too where
    ``clusters: model`` asks for them.
    """
    even = stays_even(widths, start.config)
    report: dict = {"widths": "even" if even else "uneven"}
    if even and widths == "uneven":
        report["fallback"] = f"stock llama.cpp has no uneven form of {start.config['model_type']}: widths stay even"
    stays = choose(start, weights_to_remove, scores, clusters, settings, even)
    report["removed"] = {
        unit: {str(nodes.layer): int((~left).sum()) for nodes, left in stays.items() if nodes.unit == unit}
        for unit in start.layout.units
    }
    report["weights_asked"] = weights_to_remove
    method = settings.weights.method
    report["changed"] = bool(stays) or method != "none"
    if not report["changed"]:
        return start, {
            **report,
            "why": "nothing could be removed at this budget within the clusters' caps",
        }
    state = start
    if stays:
        moments = second_moments.of(start, calibration, scores.tokens, device)
        repaired, report["repair"] = _repair(start, stays, moments, settings.damping)
        state = _zeroed(remove_nodes(start, stays, repaired))
    if method != "none":
        state = mask_weights(state, calibration, second_moments, scores, settings.weights, settings.damping, device)
    return state, report


def choose(
    start: Checkpoint,
    weights_to_remove: int,
    scores: Scores,
    clusters: Clusters,
    settings: PruneSettings,
    even: bool,
) -> Stays:
    """Which of the present nodes stay (True), in the layers that lose some."""
    layers = range(start.layers)
    score = settings.score
    cap = settings.cluster_cap
    neurons = {i: start.node_mask(Nodes("ffn", i)) for i in layers}
    values = {i: scores.of("ffn", i, score) for i in layers}
    if settings.clusters == "model":
        order = eligible_across(values, dict(enumerate(clusters.across)), neurons, cap)
    else:
        order = {i: eligible(values[i], clusters.layers[i], neurons[i], cap) for i in layers}
    count = weights_to_remove // start.cost("ffn")
    stays: dict[Nodes, Tensor] = {}
    if settings.attention and not even and "kv" in start.layout.units:
        removable = [nodes for nodes in start.layout.nodes if nodes.unit == "kv"]
        groups = {nodes.layer: start.node_mask(nodes) for nodes in removable}
        price = _marginal_value(values, order, count) * start.cost("kv") / start.cost("ffn")
        present = sum(start.count("kv", layer) for layer in groups)
        limit = min(int(cap * present), weights_to_remove // start.cost("kv"))
        removed = cheapest_groups(
            {i: scores.of("kv", i, score) for i in groups}, groups, limit, price, protected=(0,)
        )
        for layer in sorted({layer for layer, _ in removed}):
            gone = torch.tensor([group for where, group in removed if where == layer])
            stays[Nodes("kv", layer)] = _without(groups[layer], gone)
        count -= len(removed) * start.cost("kv") // start.cost("ffn")
    present = dict(enumerate(start.counts("ffn")))
    chunks = cheapest_chunks(values, order, present, count, settings.multiple, even)
    return stays | {Nodes("ffn", layer): _without(neurons[layer], gone) for layer, gone in chunks.items()}


def stays_even(widths: str, config: dict) -> bool:
    """Whether all layers keep one width: asked for, or because stock llama.cpp has no uneven form
    of the family.
    """
    return widths == "even" or not supports_uneven(config)


def weights_to_go(start_parameters: int, seed_parameters: int, step: float, target: float) -> int:
    """Block weights this wave removes: ``step`` of the seed's, or what is left to ``target``."""
    gone = seed_parameters - start_parameters
    return max(0, min(int(step * seed_parameters), int(target * seed_parameters) - gone))


def sparsity_for(
    target_bytes: int | None,
    checkpoint: Checkpoint,
    seed_parameters: int,
    rounding: RoundSettings,
    settings: PruneSettings,
    widths: str,
) -> float:
    """Share of the seed's block weights that must go for an export of ``target_bytes`` at the
    fewest bits ``rounding.types`` allow; 0 without a target.
    """
    if target_bytes is None:
        return 0.0
    embedding = checkpoint.weights[checkpoint.layout.embedding]
    outer = fewest_bits(outer_types(rounding.types, rounding.embedding), embedding.shape[1])
    fixed = int((checkpoint.parameters - checkpoint.block_parameters) * outer / 8)
    bits = _fewest_bits(checkpoint, rounding.types, settings, widths)
    return min(0.99, needed_sparsity(target_bytes, fixed, seed_parameters, bits))


def _fewest_bits(checkpoint: Checkpoint, types: list[str], settings: PruneSettings, widths: str) -> float:
    """Bits per block weight with every matrix at the fewest its rows allow, however narrow they
    become.

    Groups narrower than any type are not counted on: few of them go, and a matrix that lost none
    keeps its type.
    """
    layout = checkpoint.layout
    groups = settings.attention and not stays_even(widths, checkpoint.config)
    bits = 0.0
    size = 0
    for block in layout.blocks:
        step = {block.reader("ffn"): settings.multiple}
        if groups and "kv" in block.units and fitting(types, block.group_width):
            step[block.reader("kv")] = block.group_width
        for module in block.linears:
            weight = checkpoint.weights[f"{module}.weight"]
            columns = math.gcd(layout.unbroken(module, weight.shape[1]), step.get(module, weight.shape[1]))
            bits += weight.numel() * fewest_bits(types, columns)
            size += weight.numel()
    return bits / size


def _zeroed(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with every masked weight exactly 0, whatever a repair put there."""
    masks = checkpoint.masks.weights
    return checkpoint.evolve({n: torch.where(m, checkpoint.weights[n], 0.0) for n, m in masks.items()})


def _without(kept: Tensor, gone: Tensor) -> Tensor:
    """Of the nodes kept so far, bool over the seed's, which stay (True) when those numbers go."""
    stays = torch.ones_like(kept)
    stays[gone] = False
    return stays[kept]


def _marginal_value(values: dict[int, Tensor], order: dict[int, Tensor], count: int) -> float:
    """Value of the dearest neuron that a model-wide cut of ``count`` neurons would take."""
    pool = torch.cat([values[layer][numbers] for layer, numbers in order.items()]).sort().values
    return float(pool[min(count, len(pool)) - 1]) if len(pool) and count else 0.0


def _repair(
    start: Checkpoint,
    stays: Stays,
    moments: Iterator[tuple[int, dict[str, Tensor], dict[str, Tensor]]],
    damping: float,
) -> tuple[dict[str, Tensor], list[dict]]:
    """New weights of the modules that read the nodes which went, and what each gained."""
    weights: dict[str, Tensor] = {}
    rows = []
    for layer, fit, check in moments:
        for unit in start.layout.units:
            left = stays.get(Nodes(unit, layer))
            if left is None:
                continue
            module = start.layout.blocks[layer].reader(unit)
            name = f"{module}.weight"
            columns = left.repeat_interleave(start.layout.blocks[layer].axes[name].entries)
            weights[name], figures = repair_columns(start.weights[name], columns, fit[module], check[module], damping)
            rows.append({"layer": layer, "part": module.rpartition(".")[2], **figures})
    return weights, rows
