"""One prune step on a checkpoint: choose nodes, remove them, repair the projections behind them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from birdbone.algo.budget import needed_sparsity
from birdbone.algo.grids import fewest_bits, fitting
from birdbone.algo.repair import repair_columns
from birdbone.algo.selection import cheapest_chunks, cheapest_groups, eligible, eligible_across
from birdbone.gguf.families import supports_uneven
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.observing.moments import CACHE, moments, token_weights
from birdbone.model.pruning.removal import (
    block_parameters,
    ffn_width,
    group_cost,
    kv_groups,
    neuron_cost,
    node_masks,
    remove_nodes,
)
from birdbone.model.pruning.weight_sparsity import mask_weights
from birdbone.model.rounding.embedding import outer_types

Stays = dict[int, Tensor]


def prune(
    start: Checkpoint,
    weights_to_remove: int,
    scores: dict[str, Tensor],
    clusters: dict[str, Tensor],
    calibration: Tensor,
    settings: dict,
    widths: str,
    device: str,
) -> tuple[Checkpoint, dict]:
    """The narrower, repaired checkpoint and a report of what went and what the repair did.

    scores: ``ffn.<layer>.<score>`` and ``kv.<layer>.<score>`` over the seed's nodes, ``tokens.<module>``
    of ``calibration`` [N, T]; clusters: ``ffn.<layer>`` labels within a layer, and ``model.<layer>`` across layers
    where ``clusters: model`` asks for them; settings: the ``prune_wave`` parameters.
    """
    even = stays_even(widths, start.config)
    report: dict = {"widths": "even" if even else "uneven"}
    if even and widths == "uneven":
        report["fallback"] = f"stock llama.cpp has no uneven form of {start.config['model_type']}: widths stay even"
    neurons, groups = choose(start, weights_to_remove, scores, clusters, settings, even)
    report["removed"] = {
        "ffn": {str(i): int((~m).sum()) for i, m in neurons.items()},
        "kv": {str(i): int((~m).sum()) for i, m in groups.items()},
    }
    report["weights_asked"] = weights_to_remove
    method = settings["weights"]["method"]
    report["changed"] = bool(neurons or groups or method != "none")
    if not neurons and not groups and method == "none":
        return start, {**report, "why": "nothing could be removed at this budget within the clusters' caps"}
    state = start
    if neurons or groups:
        repaired, report["repair"] = _repair(start, neurons, groups, calibration, scores, settings["damping"], device)
        state = _zeroed(remove_nodes(start, neurons, groups, repaired))
    if method != "none":
        state = mask_weights(state, calibration, scores, settings["weights"], settings["damping"], device)
    return state, report


def choose(
    start: Checkpoint,
    weights_to_remove: int,
    scores: dict[str, Tensor],
    clusters: dict[str, Tensor],
    settings: dict,
    even: bool,
) -> tuple[Stays, Stays]:
    """Masks over the present neurons and key-value groups (True = stays) of the layers that lose some."""
    architecture, masks = architecture_of(start.config), node_masks(start)
    layers, kind = range(start.layers), settings["score"]
    values = {i: scores[f"ffn.{i}.{kind}"] for i in layers}
    kept, cap = {i: masks[f"ffn.{i}"] for i in layers}, settings["cluster_cap"]
    if settings["clusters"] == "model":
        order = eligible_across(values, {i: clusters[f"model.{i}"] for i in layers}, kept, cap)
    else:
        order = {i: eligible(values[i], clusters[f"ffn.{i}"], kept[i], cap) for i in layers}
    present = {i: ffn_width(start, i) for i in layers}
    count = weights_to_remove // neuron_cost(start)
    groups: Stays = {}
    if settings["attention"] and not even:
        per_neuron = _marginal_value(values, order, count)
        kv = {i: scores[f"kv.{i}.{kind}"] for i in layers}
        price = per_neuron * group_cost(start) / neuron_cost(start)
        limit = int(settings["cluster_cap"] * sum(kv_groups(start, i) for i in layers))
        limit = min(limit, weights_to_remove // group_cost(start))
        gone = cheapest_groups(kv, {i: masks[f"kv.{i}"] for i in layers}, limit, price, protected=(0,))
        for layer, group in gone:
            groups[layer] = groups.get(layer, masks[f"kv.{layer}"]).clone()
            groups[layer][group] = False
        groups = {i: m[masks[f"kv.{i}"]] for i, m in groups.items()}
        count -= len(gone) * group_cost(start) // neuron_cost(start)
    chosen = cheapest_chunks(values, order, present, count, settings["multiple"], even)
    neurons = {}
    for layer, found in chosen.items():
        stays = torch.ones(architecture.ffn_width(start.config), dtype=torch.bool)
        stays[found] = False
        neurons[layer] = stays[masks[f"ffn.{layer}"]]
    return neurons, groups


def stays_even(widths: str, config: dict) -> bool:
    """Whether all layers keep one width: asked for, or because stock llama.cpp has no uneven form of the family."""
    return widths == "even" or not supports_uneven(config)


def target_nodes(start_parameters: int, seed_parameters: int, step: float, target: float) -> int:
    """Block weights this wave removes: ``step`` of the seed's, or what is left to ``target``."""
    gone = seed_parameters - start_parameters
    return max(0, min(int(step * seed_parameters), int(target * seed_parameters) - gone))


def sparsity_for(
    target_bytes: int | None,
    checkpoint: Checkpoint,
    seed_parameters: int,
    quantize: dict,
    settings: dict,
    widths: str,
) -> float:
    """Share of the seed's block weights that must go for an export of ``target_bytes`` at the fewest bits
    ``quantize.types`` allows; 0 without a target. settings: the ``prune_wave`` parameters.
    """
    if target_bytes is None:
        return 0.0
    embedding = checkpoint.weights[f"{architecture_of(checkpoint.config).embedding}.weight"]
    outer = fewest_bits(outer_types(quantize["types"], quantize["embedding"]), embedding.shape[1])
    fixed = int((checkpoint.parameters - block_parameters(checkpoint)) * outer / 8)
    bits = _fewest_bits(checkpoint, quantize["types"], settings, widths)
    return min(0.99, needed_sparsity(target_bytes, fixed, seed_parameters, bits))


def _fewest_bits(checkpoint: Checkpoint, types: list[str], settings: dict, widths: str) -> float:
    """Bits per block weight with every matrix at the fewest its rows allow, however narrow they become.

    Groups narrower than any type are not counted on: few of them go, and a matrix that lost none keeps its type.
    """
    architecture, bits, size = architecture_of(checkpoint.config), 0.0, 0
    group = _group_width(architecture, checkpoint.config)
    groups_go = settings["attention"] and not stays_even(widths, checkpoint.config) and fitting(types, group)
    for layer in range(checkpoint.layers):
        steps = {architecture.ffn_output(layer): settings["multiple"]}
        if groups_go:
            steps[architecture.attention_part(layer, "output")] = group
        for module in architecture.linears(layer):
            weight = checkpoint.weights[f"{module}.weight"]
            columns = math.gcd(weight.shape[1], steps.get(module, weight.shape[1]))
            bits += weight.numel() * fewest_bits(types, columns)
            size += weight.numel()
    return bits / size


def _group_width(architecture: Architecture, config: dict) -> int:
    """Columns of the attention's output that belong to one key-value group."""
    return architecture.heads(config) // architecture.kv_heads(config) * architecture.head_size(config)


def _zeroed(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with every masked weight exactly 0, whatever a repair put there."""
    masked = {n.removeprefix("weight."): m for n, m in checkpoint.masks.items() if n.startswith("weight.")}
    return checkpoint.evolve({n: torch.where(m, checkpoint.weights[n], 0.0) for n, m in masked.items()})


def _marginal_value(values: dict[int, Tensor], order: dict[int, Tensor], count: int) -> float:
    """Value of the dearest neuron that a model-wide cut of ``count`` neurons would take."""
    pool = torch.cat([values[i][found] for i, found in order.items()]).sort().values
    return float(pool[min(count, len(pool)) - 1]) if len(pool) and count else 0.0


def _repair(
    start: Checkpoint,
    neurons: Stays,
    groups: Stays,
    calibration: Tensor,
    scores: dict[str, Tensor],
    damping: float,
    device: str,
) -> tuple[dict[str, Tensor], list[dict]]:
    """New output projections where nodes went, and what each gained."""
    architecture = architecture_of(start.config)
    wide = _group_width(architecture, start.config)
    new: dict[str, Tensor] = {}
    rows = []
    for layer, fit, check in moments(start, calibration, token_weights(scores), device, CACHE):
        stays: dict[str, Tensor] = {}
        if layer in neurons:
            stays[architecture.ffn_output(layer)] = neurons[layer]
        if layer in groups:
            stays[architecture.attention_part(layer, "output")] = groups[layer].repeat_interleave(wide)
        for module, mask in stays.items():
            name = f"{module}.weight"
            new[name], figures = repair_columns(start.weights[name], mask, fit[module], check[module], damping)
            rows.append({"layer": layer, "part": module.rpartition(".")[2], **figures})
    return new, rows
