"""The seed's coordinates: states with different nodes are compared at the seed's full width."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.diff.bits import Spec, bits
from birdbone.diff.states import State, Tensors
from birdbone.errors import ArtifactError
from birdbone.model.layout import Layout
from birdbone.model.units import Axis, Nodes


def shifted_masks(old: State, new: State) -> dict[str, tuple[Tensor, Tensor]]:
    """The node masks that keep other nodes in ``new`` than in ``old``, by name."""
    shifted = {}
    for name in sorted({*old.masks, *new.masks}):
        if Nodes.parse(name):
            before, after = node_pair(old.masks, new.masks, name)
            if not torch.equal(before, after):
                shifted[name] = (before, after)
    return shifted


def node_pair(old: Tensors, new: Tensors, name: str) -> tuple[Tensor, Tensor]:
    """One node mask of two states that do not both lack it; a missing one keeps all."""
    pair = [masks[name] if name in masks else None for masks in (old, new)]
    before, after = (torch.ones_like(pair[1 - i]) if m is None else m for i, m in enumerate(pair))
    return before, after


def shifted_axes(config: dict, masks: set[str]) -> dict[str, Axis]:
    """Every tensor that these node masks cut, by name, present or not.

    Raises UnsupportedArchitectureError, or ArtifactError when the configuration lacks a width.
    """
    if not masks:
        return {}
    layers = sorted({Nodes.parse(name).layer for name in masks})
    try:
        blocks = Layout(config).blocks
        axes = [blocks[layer].axes for layer in layers if layer < len(blocks)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ArtifactError(
            f"the model's configuration does not tell the widths of its nodes ({error!r})"
        ) from error
    return {
        name: axis for block in axes for name, axis in block.items() if axis.nodes.name in masks
    }


def fits(narrow: Spec, whole: Spec, axis: Axis, mask: Tensor) -> bool:
    """Whether cutting ``whole`` by the mask gives a tensor like ``narrow``."""
    if axis.dim >= len(whole.shape) or whole.shape[axis.dim] != mask.numel() * axis.entries:
        return False
    shape = list(whole.shape)
    shape[axis.dim] = int(mask.sum()) * axis.entries
    return narrow == Spec(whole.dtype, tuple(shape))


def widened(tensor: Tensor, axis: Axis, mask: Tensor, seed: Tensors, name: str) -> Tensor:
    """The tensor at the seed's width, the seed's values where nodes are missing."""
    if bool(mask.all()):
        return tensor
    return axis.paste(bits(tensor), mask, bits(seed[name])).view(tensor.dtype)


def narrowed(tensor: Tensor, axis: Axis, mask: Tensor) -> Tensor:
    """The tensor without the nodes that are False in the mask."""
    return axis.cut(bits(tensor), mask).view(tensor.dtype)
