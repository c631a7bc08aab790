"""Physical removal of nodes: rows and columns go, masks in the seed's coordinates stay true."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birdbone.model.architecture import architecture_of
from birdbone.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class NodeAxis:
    """Where a layer's nodes lie in one tensor: along ``dim``, ``entries`` neighbouring rows or columns to a node."""

    mask: str
    dim: int
    entries: int

    def cut(self, tensor: Tensor, stays: Tensor) -> Tensor:
        """The tensor without the nodes that are False in ``stays``."""
        index = stays.repeat_interleave(self.entries)
        return tensor[index] if self.dim == 0 else tensor[:, index].contiguous()

    def paste(self, tensor: Tensor, stays: Tensor, whole: Tensor) -> Tensor:
        """A copy of ``whole`` with the tensor in place of the nodes that are True in ``stays``."""
        index = torch.nonzero(stays.repeat_interleave(self.entries)).flatten()
        return whole.clone().index_copy_(self.dim, index, tensor)


def node_axes(config: dict, layer: int) -> dict[str, NodeAxis]:
    """Every tensor of a layer that is narrower for each removed node, by name; biases whether present or not."""
    architecture = architecture_of(config)
    size = architecture.head_size(config)
    heads = size * (architecture.heads(config) // architecture.kv_heads(config))
    query, key, value, output = architecture.linears(layer)[:4]
    ffn, kv = f"ffn.{layer}", f"kv.{layer}"
    rows = {**dict.fromkeys(architecture.ffn_inputs(layer), (ffn, 1)), query: (kv, heads), key: (kv, size)}
    rows[value] = (kv, size)
    columns = {architecture.ffn_output(layer): (ffn, 1), output: (kv, heads)}
    axes = {f"{m}.{kind}": NodeAxis(mask, 0, n) for m, (mask, n) in rows.items() for kind in ("weight", "bias")}
    return axes | {f"{m}.weight": NodeAxis(mask, 1, n) for m, (mask, n) in columns.items()}


def ffn_width(checkpoint: Checkpoint, layer: int) -> int:
    """Neurons left in a layer."""
    name = architecture_of(checkpoint.config).ffn_output(layer)
    return checkpoint.weights[f"{name}.weight"].shape[1]


def kv_groups(checkpoint: Checkpoint, layer: int) -> int:
    """Key-value groups left in a layer."""
    architecture = architecture_of(checkpoint.config)
    rows = checkpoint.weights[f"{architecture.attention_part(layer, 'key')}.weight"].shape[0]
    return rows // architecture.head_size(checkpoint.config)


def node_masks(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every layer's ``ffn.<layer>`` and ``kv.<layer>`` mask over the seed's nodes, all-true where untouched."""
    architecture = architecture_of(checkpoint.config)
    widths = {"ffn": architecture.ffn_width(checkpoint.config), "kv": architecture.kv_heads(checkpoint.config)}
    return {
        f"{kind}.{layer}": checkpoint.node_mask(kind, layer, width)
        for kind, width in widths.items()
        for layer in range(checkpoint.layers)
    }


def block_parameters(checkpoint: Checkpoint) -> int:
    """Weights inside the decoder blocks' linear layers (biases left out)."""
    architecture = architecture_of(checkpoint.config)
    return sum(
        checkpoint.weights[f"{name}.weight"].numel()
        for layer in range(checkpoint.layers)
        for name in architecture.linears(layer)
    )


def macs_per_token(checkpoint: Checkpoint) -> int:
    """Multiply-accumulates per token in linear layers and the output head (attention's products left out)."""
    embedding = checkpoint.weights[f"{architecture_of(checkpoint.config).embedding}.weight"]
    masked = sum(int((~m).sum()) for n, m in checkpoint.masks.items() if n.startswith("weight."))
    return block_parameters(checkpoint) + embedding.numel() - masked


def neuron_cost(checkpoint: Checkpoint) -> int:
    """Weights that go with one neuron."""
    architecture = architecture_of(checkpoint.config)
    hidden = checkpoint.weights[f"{architecture.ffn_output(0)}.weight"].shape[0]
    return hidden * (len(architecture.ffn["inputs"]) + 1)


def group_cost(checkpoint: Checkpoint) -> int:
    """Weights that go with one key-value group: its key, value, query heads and output columns."""
    architecture = architecture_of(checkpoint.config)
    hidden = checkpoint.weights[f"{architecture.ffn_output(0)}.weight"].shape[0]
    shared = architecture.heads(checkpoint.config) // architecture.kv_heads(checkpoint.config)
    return hidden * architecture.head_size(checkpoint.config) * 2 * (1 + shared)


def remove_nodes(
    checkpoint: Checkpoint,
    neurons: dict[int, Tensor],
    groups: dict[int, Tensor],
    repaired: dict[str, Tensor] | None = None,
) -> Checkpoint:
    """A narrower checkpoint. ``neurons`` and ``groups`` map layers to bool masks over the *present*
    nodes (True = stays); ``repaired`` holds new output projections, already narrow.
    """
    architecture = architecture_of(checkpoint.config)
    widths = {"ffn": architecture.ffn_width(checkpoint.config), "kv": architecture.kv_heads(checkpoint.config)}
    weights, masks = {}, {}
    for kind, chosen in (("ffn", neurons), ("kv", groups)):
        for layer, stays in chosen.items():
            mask = f"{kind}.{layer}"
            masks[mask] = _narrowed(checkpoint.node_mask(kind, layer, widths[kind]), stays)
            for name, axis in node_axes(checkpoint.config, layer).items():
                if axis.mask == mask and name in checkpoint.weights:
                    weights[name] = axis.cut(checkpoint.weights[name], stays)
                    if f"weight.{name}" in checkpoint.masks:
                        masks[f"weight.{name}"] = axis.cut(checkpoint.masks[f"weight.{name}"], stays)
    return checkpoint.evolve({**weights, **(repaired or {})}, masks)


def grow_neurons(
    checkpoint: Checkpoint, seed: Checkpoint, layer: int, returning: Tensor, outgoing: Tensor
) -> Checkpoint:
    """The checkpoint with seed neurons ``returning`` [k] back in place: incoming rows from the seed,
    ``outgoing`` [out, k] as their output columns.
    """
    architecture = architecture_of(checkpoint.config)
    mask = checkpoint.node_mask("ffn", layer, architecture.ffn_width(checkpoint.config))
    grown = mask.clone()
    grown[returning] = True
    old, new = mask[grown], ~mask[grown]
    weights, masks = {}, {f"ffn.{layer}": grown}
    for name in _present(checkpoint, architecture.ffn_inputs(layer)):
        weights[name] = _spread(checkpoint.weights[name], seed.weights[name][returning], old, new, 0)
    name = f"{architecture.ffn_output(layer)}.weight"
    weights[name] = _spread(checkpoint.weights[name], outgoing, old, new, 1)
    for name in list(weights):
        if f"weight.{name}" in checkpoint.masks:
            dim = 1 if name.startswith(architecture.ffn_output(layer)) else 0
            held = checkpoint.masks[f"weight.{name}"]
            fresh = torch.ones_like(weights[name], dtype=torch.bool).index_select(dim, torch.nonzero(new).flatten())
            masks[f"weight.{name}"] = _spread(held, fresh, old, new, dim)
    return checkpoint.evolve(weights, masks)


def _present(checkpoint: Checkpoint, modules: list[str]) -> list[str]:
    return [f"{m}.{kind}" for m in modules for kind in ("weight", "bias") if f"{m}.{kind}" in checkpoint.weights]


def _narrowed(mask: Tensor, stays: Tensor) -> Tensor:
    out = mask.clone()
    out[mask] = stays
    return out


def _spread(old: Tensor, new: Tensor, old_places: Tensor, new_places: Tensor, dim: int) -> Tensor:
    shape = list(old.shape)
    shape[dim] = len(old_places)
    out = old.new_empty(shape)
    out.index_copy_(dim, torch.nonzero(old_places).flatten(), old)
    out.index_copy_(dim, torch.nonzero(new_places).flatten(), new.to(old.dtype))
    return out


def narrowed_fisher(checkpoint: Checkpoint, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """``fisher.<module>`` over the outputs that are left after node removal."""
    architecture, masks = architecture_of(checkpoint.config), node_masks(checkpoint)
    size = architecture.head_size(checkpoint.config)
    shared = architecture.heads(checkpoint.config) // architecture.kv_heads(checkpoint.config)
    out = {}
    for layer in range(checkpoint.layers):
        query, key, value, _ = architecture.linears(layer)[:4]
        groups = masks[f"kv.{layer}"]
        kept = {n: masks[f"ffn.{layer}"] for n in architecture.ffn_inputs(layer)}
        kept |= {
            query: groups.repeat_interleave(size * shared),
            key: groups.repeat_interleave(size),
            value: groups.repeat_interleave(size),
        }
        for name in architecture.linears(layer):
            fisher = scores[f"fisher.{name}"]
            out[name] = fisher[kept[name]] if name in kept else fisher
    return out
