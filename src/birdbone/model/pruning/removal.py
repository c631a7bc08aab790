"""Physical removal and return of nodes: rows and columns go or come, masks in the seed's coordinates stay true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import torch
from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Layout
from birdbone.model.masks import Masks
from birdbone.model.units import COLUMNS, UNITS, Nodes

Stays = Mapping[Nodes, Tensor]
"""Bool over a layer's *present* nodes, True = stays."""


def remove_nodes(checkpoint: Checkpoint, stays: Stays, repaired: Mapping[str, Tensor] | None = None) -> Checkpoint:
    """A narrower checkpoint. ``repaired`` holds new output projections by name, already narrow."""
    weights: dict[str, Tensor] = {}
    node_masks: dict[Nodes, Tensor] = {}
    weight_masks: dict[str, Tensor] = {}
    for nodes, left in stays.items():
        node_masks[nodes] = _narrowed(checkpoint.node_mask(nodes), left)
        for name, axis in checkpoint.layout.blocks[nodes.layer].axes_of(nodes.unit).items():
            if name in checkpoint.weights:
                weights[name] = axis.narrowed(checkpoint.weights[name], left)
            if name in checkpoint.masks.weights:
                weight_masks[name] = axis.cut(checkpoint.masks.weights[name], left)
    return checkpoint.evolve({**weights, **(repaired or {})}, Masks(node_masks, weight_masks))


def return_nodes(
    checkpoint: Checkpoint, seed: Checkpoint, nodes: Nodes, returning: Tensor, outgoing: Tensor
) -> Checkpoint:
    """The checkpoint with the seed's nodes ``returning`` [k] back in place: incoming rows from the seed,
    ``outgoing`` [out, k entries] as their output columns.
    """
    mask = checkpoint.node_mask(nodes)
    back = torch.zeros_like(mask)
    back[returning] = True
    kept = mask | back
    grown = (back & ~mask)[kept]
    weights: dict[str, Tensor] = {}
    weight_masks: dict[str, Tensor] = {}
    for name, axis in checkpoint.layout.blocks[nodes.layer].axes_of(nodes.unit).items():
        if name not in checkpoint.weights:
            continue
        new = outgoing if axis.dim == COLUMNS else axis.cut(seed.weights[name], back)
        weights[name] = axis.spread(checkpoint.weights[name], new, grown)
        if name in checkpoint.masks.weights:
            new_mask = torch.ones_like(new, dtype=torch.bool)
            weight_masks[name] = axis.spread(checkpoint.masks.weights[name], new_mask, grown)
    return checkpoint.evolve(weights, Masks({nodes: kept}, weight_masks))


def padded(checkpoint: Checkpoint) -> tuple[Checkpoint, dict]:
    """The checkpoint at one width for all layers, its configuration saying so; masks dropped."""
    layout = checkpoint.layout
    usual = {unit: layout.usual(unit) for unit in layout.units}
    most = {unit: _room(checkpoint, unit, count) for unit, count in usual.items()}
    if layout.heads_are_fixed:
        most["kv"] = layout.heads[1]
    config = {**checkpoint.config, "tie_word_embeddings": layout.head not in checkpoint.weights}
    for unit, count in most.items():
        config |= UNITS[unit].keys(layout, count)
    if Layout(config).blocks[0].head_size != layout.blocks[0].head_size:
        config["head_dim"] = layout.blocks[0].head_size
    weights: dict[str, Tensor] = {}
    for block in Layout(config).blocks:
        for name, axis in block.axes.items():
            weight = checkpoint.weights.get(name)
            count = UNITS[axis.nodes.unit].count(block)
            if weight is not None and axis.count(weight.shape) != count:
                weights[name] = axis.pad(weight, count)
    even = Checkpoint(config, {**checkpoint.weights, **weights})
    return even, {
        "ffn_width": most["ffn"],
        "kv_groups": most.get("kv", layout.heads[1]),
        "padded": bool(weights),
    }


def _room(checkpoint: Checkpoint, unit: str, usual: int) -> int:
    """What the configuration must say in place of ``usual``, so that every layer has room for its nodes.

    A layer that has twice as many in the seed has twice the room.
    """
    counts = {block.layer: UNITS[unit].count(block) for block in checkpoint.layout.blocks}
    shares = {layer: Fraction(count, usual) for layer, count in counts.items() if count}
    return max(math.ceil(checkpoint.count(unit, layer) / share) for layer, share in shares.items())


def _narrowed(mask: Tensor, stays: Tensor) -> Tensor:
    out = mask.clone()
    out[mask] = stays
    return out
