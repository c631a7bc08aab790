"""A part of a bundle: some layers, or the masks without the healing.

A bundle leads from state x to state y; reverting leads from its new state to its old one. A partial
step gives a third state, consistent in itself and with its own digest:

- ``layers``: weights and masks of these decoder blocks are y's; everything else stays x's.
- ``masks_only``: the masks are y's. A weight has y's value where only one of x and y keeps its node
  or its bit of a weight mask. Every other weight stays as it is in x. Reverting a prune-and-heal
  bundle this way brings back what was removed, with the values it had, and keeps the healing of
  everything else.

Both together: the masks of these layers only. The configuration stays x's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.diff.bits import bits
from birdbone.diff.coordinates import node_pair, shifted_axes, shifted_masks
from birdbone.diff.states import State, Tensors
from birdbone.errors import BundleError
from birdbone.model.layout import Layout
from birdbone.model.masks import masked_tensor, weight_name
from birdbone.model.units import Axis, Nodes


def mixed(
    x: State, y: State, axes: dict[str, Axis], layers: set[int] | None, masks_only: bool
) -> State:
    """The state between x and y; ``axes`` are those of the tensors whose nodes differ.

    Raises BundleError when the model has no such layer, or when masks alone would not fit the
    weights.
    """
    inside = _within(x, layers)
    masks = _chosen(x.masks, y.masks, lambda name: inside(_tensor_of(x, name)))
    if not masks_only:
        return State(x.config, _chosen(x.weights, y.weights, inside), masks)
    shifted = set(shifted_masks(x, State(x.config, x.weights, masks)))
    cut = {n for n in shifted_axes(x.config, shifted) if n in x.weights}
    touched = cut | {n for n in x.weights if _differ(x.masks, masks, weight_name(n))}
    for name in sorted(touched):
        _check(name, x, y, masks, axes.get(name) if name in cut else None, name in cut)

    def tensor_of(name: str) -> Tensor:
        if name not in touched:
            return x.weights[name]
        return _mix(name, x, y, masks, axes[name] if name in cut else None)

    specs = {n: y.weights.specs[n] if n in touched else s for n, s in x.weights.specs.items()}
    digests = {n: x.weights.digest(n) for n in specs if n not in touched}
    return State(
        x.config, Tensors(f"masks of {y.weights.origin}", specs, tensor_of, digests), masks
    )


def _mix(name: str, x: State, y: State, masks: Tensors, axis: Axis | None) -> Tensor:
    """y's values where only one of x and the masks keeps them, x's elsewhere."""
    ours = x.weights[name]
    theirs = y.weights[name]
    a, b = bits(ours), bits(theirs)
    kept_a = _mask(x.masks, weight_name(name), ours.shape)
    kept_b = _mask(masks, weight_name(name), theirs.shape)
    if axis is None:
        return torch.where(kept_a == kept_b, a, b).view(ours.dtype)
    before, after = node_pair(x.masks, masks, axis.nodes.name)
    both = before & after
    kept_before, kept_after = both[before], both[after]
    same = axis.cut(kept_a, kept_before) == axis.cut(kept_b, kept_after)
    common = torch.where(same, axis.cut(a, kept_before), axis.cut(b, kept_after))
    return axis.paste(common, kept_after, b).view(ours.dtype)


def _mask(masks: Tensors, name: str, shape: torch.Size) -> Tensor:
    return masks[name] if name in masks else torch.ones(shape, dtype=torch.bool)


def _differ(a: Tensors, b: Tensors, name: str) -> bool:
    if name in a and name in b:
        return a.digest(name) != b.digest(name)
    return name in a or name in b


def _check(name: str, x: State, y: State, masks: Tensors, axis: Axis | None, cut: bool) -> None:
    """Raises BundleError where a tensor of x and y differs in more than its masks."""
    a, b = (s.weights.specs.get(name) for s in (x, y))
    sound = a and b and a.dtype == b.dtype and (axis if cut else a == b)
    if not sound or any(
        m.specs.get(weight_name(name), spec).shape != spec.shape
        for m, spec in ((x.masks, a), (masks, b))
    ):
        raise BundleError(
            f"masks alone do not fit tensor {name}, which changed in more than its masks: take both"
        )


def _within(x: State, layers: set[int] | None):
    """Whether a tensor belongs to one of the layers."""
    if layers is None:
        return lambda name: True
    family = Layout(x.config).family
    prefixes = tuple(f"{family.blocks}.{layer}." for layer in sorted(layers))
    for layer, prefix in zip(sorted(layers), prefixes, strict=True):
        if not any(n.startswith(prefix) for n in x.weights):
            raise BundleError(
                f"{x.weights.origin} has no layer {layer}: none of its tensors begins with {prefix}"
            )
    return lambda name: name.startswith(prefixes)


def _tensor_of(x: State, mask: str) -> str:
    """The tensor, or the beginning of its name, that tells which layer a mask belongs to."""
    if nodes := Nodes.parse(mask):
        return f"{Layout(x.config).family.blocks}.{nodes.layer}."
    return masked_tensor(mask) or mask


def _chosen(x: Tensors, y: Tensors, inside) -> Tensors:
    """y's tensors where ``inside``, x's elsewhere."""
    source = {n: x for n in x if not inside(n)} | {n: y for n in y if inside(n)}
    specs = {n: tensors.specs[n] for n, tensors in source.items()}
    digests = {n: tensors.digest(n) for n, tensors in source.items()}
    return Tensors(f"a part of {y.origin}", specs, lambda n: source[n][n], digests)
