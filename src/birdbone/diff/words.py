"""Changes of a model in the model's own words: which neurons, key-value groups and weights went or came back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from birdbone.diff.coordinates import NODES, node_pair
from birdbone.diff.states import State, Tensors

KINDS = {"ffn": ("FFN neuron", "FFN neurons"), "kv": ("key-value group", "key-value groups")}


class NodeChange(NamedTuple):
    """One layer's nodes of a kind (``ffn`` or ``kv``). kept, removed, returned: bool over the seed's nodes."""

    layer: int
    kind: str
    kept: Tensor
    removed: Tensor
    returned: Tensor


class WeightChange(NamedTuple):
    """What happened to one tensor's weight mask: shares masked before and after, and the bits that changed sides."""

    tensor: str
    before: float
    after: float
    removed: int
    returned: int


def node_changes(old: State, new: State) -> list[NodeChange]:
    """Every layer whose nodes differ between two states, in order. A mask that is not there keeps all."""
    found = []
    for name in {*old.masks, *new.masks}:
        if match := NODES.fullmatch(name):
            before, after = node_pair(old.masks, new.masks, name)
            if not torch.equal(before, after):
                kind, layer = match[1], int(match[2])
                found.append(NodeChange(layer, kind, before & after, before & ~after, ~before & after))
    return sorted(found, key=lambda c: (c.layer, c.kind))


def weight_changes(old: State, new: State) -> list[WeightChange]:
    """Every tensor whose weight mask differs, by name; where nodes went too, its bits are not paired."""
    found = []
    for name in sorted({n for n in (*old.masks, *new.masks) if n.startswith("weight.")}):
        if name in old.masks and name in new.masks and old.masks.digest(name) == new.masks.digest(name):
            continue
        before, after = (_masked(masks, name) for masks in (old.masks, new.masks))
        gone = back = 0
        if before.kept is None or after.kept is None or before.kept.shape == after.kept.shape:
            a, b = (m.kept if m.kept is not None else torch.ones((), dtype=torch.bool) for m in (before, after))
            gone, back = int((a & ~b).sum()), int((~a & b).sum())
        found.append(WeightChange(name.removeprefix("weight."), before.share, after.share, gone, back))
    return found


def node_words(changes: Iterable[NodeChange]) -> list[str]:
    """One line per layer: ``layer 3: key-value group 1 removed; 128 FFN neurons removed, 12 returned``."""
    lines: dict[int, list[str]] = {}
    for change in changes:
        lines.setdefault(change.layer, []).append(_words(change))
    return [f"layer {layer}: {'; '.join(parts)}" for layer, parts in sorted(lines.items())]


def _words(change: NodeChange) -> str:
    parts = []
    for what, mask in (("removed", change.removed), ("returned", change.returned)):
        numbers = mask.nonzero().flatten().tolist()
        if not numbers:
            continue
        one, many = KINDS[change.kind]
        if change.kind == "kv":
            parts.append(f"{one if len(numbers) == 1 else many} {', '.join(map(str, numbers))} {what}")
        elif parts:
            parts.append(f"{len(numbers)} {what}")
        else:
            parts.append(f"{len(numbers)} {one if len(numbers) == 1 else many} {what}")
    return ", ".join(parts)


class _Mask(NamedTuple):
    kept: Tensor | None
    share: float


def _masked(masks: Tensors, name: str) -> _Mask:
    if name not in masks:
        return _Mask(None, 0.0)
    kept = masks[name]
    return _Mask(kept, float((~kept).sum()) / max(1, kept.numel()))
