"""Changes between two models: which neurons, key-value groups and weights went or came back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from birdbone.diff.bits import bits
from birdbone.diff.coordinates import node_pair, shifted_axes
from birdbone.diff.states import State, Tensors
from birdbone.model.masks import masked_tensor
from birdbone.model.units import UNITS, Nodes


class NodeChange(NamedTuple):
    """One layer's nodes of a unit, bool over the seed's nodes.

    What came back is ``revived`` where all its weights are the seed's bit for bit, ``regrown``
    where they are not.
    """

    nodes: Nodes
    kept: Tensor
    removed: Tensor
    regrown: Tensor
    revived: Tensor


class WeightChange(NamedTuple):
    """One tensor's weight mask: shares masked before and after, and how many bits changed."""

    tensor: str
    before: float
    after: float
    removed: int
    returned: int


class TokenChange(NamedTuple):
    """Tokens that went and that came back, as the tokenizer spells them; how many are left of how
    many.
    """

    gone: list[str]
    back: list[str]
    left: int
    of: int


def token_change(old: dict, new: dict) -> TokenChange | None:
    """Between two records of a vocabulary, empty where no token went; None where they are one."""
    before, after = (set(record.get("removed", ())) for record in (old, new))
    if before == after:
        return None
    of = (new or old)["of"]
    return TokenChange(sorted(after - before), sorted(before - after), of - len(after), of)


def vocabulary_of(state: State, record: dict) -> dict:
    """The record of a model's vocabulary; empty where it is of another one, which an earlier run
    left behind.
    """
    return record if record.get("tokens") == state.config.get("vocab_size") else {}


def node_changes(old: State, new: State, seed: State | None) -> list[NodeChange]:
    """Every layer whose nodes differ between two states, in order. A missing mask keeps all nodes.

    Without the seed, every node that came back counts as regrown.
    """
    changes = []
    for name in {*old.masks, *new.masks}:
        if nodes := Nodes.parse(name):
            before, after = node_pair(old.masks, new.masks, name)
            if not torch.equal(before, after):
                back = ~before & after
                revived = torch.zeros_like(back)
                if seed and back.any():
                    revived = back & _as_seed(new, seed, name, after)
                kept = before & after
                removed = before & ~after
                changes.append(NodeChange(nodes, kept, removed, back & ~revived, revived))
    return sorted(changes, key=lambda change: (change.nodes.layer, change.nodes.unit))


def weight_changes(old: State, new: State) -> list[WeightChange]:
    """Every tensor whose weight mask differs, by name. Masks of two shapes have no paired bits."""
    changes = []
    for name in sorted({n for n in (*old.masks, *new.masks) if masked_tensor(n)}):
        both = name in old.masks and name in new.masks
        if both and old.masks.digest(name) == new.masks.digest(name):
            continue
        before, after = (_masked(masks, name) for masks in (old.masks, new.masks))
        removed = returned = 0
        if before.kept is None or after.kept is None or before.kept.shape == after.kept.shape:
            a, b = (
                m.kept if m.kept is not None else torch.ones((), dtype=torch.bool)
                for m in (before, after)
            )
            removed = int((a & ~b).sum())
            returned = int((~a & b).sum())
        tensor = masked_tensor(name)
        changes.append(WeightChange(tensor, before.share, after.share, removed, returned))
    return changes


def node_words(changes: Iterable[NodeChange]) -> list[str]:
    """One line a layer: ``layer 3: key-value group 1 removed; 128 FFN neurons removed``."""
    lines: dict[int, list[str]] = {}
    for change in changes:
        lines.setdefault(change.nodes.layer, []).append(_words(change))
    return [f"layer {layer}: {'; '.join(parts)}" for layer, parts in sorted(lines.items())]


def _words(change: NodeChange) -> str:
    parts = []
    for what, mask in (
        ("removed", change.removed),
        ("regrown", change.regrown),
        ("revived", change.revived),
    ):
        numbers = mask.nonzero().flatten().tolist()
        if not numbers:
            continue
        unit = UNITS[change.nodes.unit]
        name = unit.one if len(numbers) == 1 else unit.many
        if unit.few:
            parts.append(f"{name} {', '.join(map(str, numbers))} {what}")
        elif parts:
            parts.append(f"{len(numbers)} {what}")
        else:
            parts.append(f"{len(numbers)} {name} {what}")
    return ", ".join(parts)


def _as_seed(new: State, seed: State, name: str, kept: Tensor) -> Tensor:
    """Which kept nodes have all their weights as in the seed, bool over the seed's nodes."""
    same = torch.ones(int(kept.sum()), dtype=torch.bool)
    for tensor, axis in shifted_axes(new.config, {name}).items():
        if tensor in new.weights and tensor in seed.weights:
            equal = bits(new.weights[tensor]) == axis.cut(bits(seed.weights[tensor]), kept)
            same &= equal.movedim(axis.dim, 0).reshape(len(same), -1).all(1)
    unchanged = torch.zeros_like(kept)
    unchanged[kept] = same
    return unchanged


class _Mask(NamedTuple):
    kept: Tensor | None
    share: float


def _masked(masks: Tensors, name: str) -> _Mask:
    if name not in masks:
        return _Mask(None, 0.0)
    kept = masks[name]
    return _Mask(kept, float((~kept).sum()) / max(1, kept.numel()))
