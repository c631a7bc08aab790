"""The one table of the units that may go, and where their nodes lie in a tensor.

A *unit* is a kind of thing a wave may remove or bring back, a *node* one of them. ``UNITS`` says
for each unit which rows and columns of which modules belong to a node. Removing, growing, padding,
scoring and the lists of what went all read it. What a wave removes of a unit is chosen in
``pruning/prune.py``, and its number in a GGUF file is written in ``gguf/keys.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

ROWS, COLUMNS = 0, 1
Record = TypeVar("Record")
Block = Any
Layout = Any
"""Those of ``layout``, which reads this table: what its functions are asked about."""


class Nodes(NamedTuple):
    """The nodes of one unit in one layer, ``ffn.3``: the key of their mask, their scores and their
    clusters.
    """

    unit: str
    layer: int

    @property
    def name(self) -> str:
        """As files spell it."""
        return f"{self.unit}.{self.layer}"

    @classmethod
    def parse(cls, name: str) -> Nodes | None:
        """From a file's spelling; None for any other name."""
        unit, _, layer = name.partition(".")
        if unit not in UNITS or not layer.isascii() or not layer.isdigit() or len(layer) > 9:
            return None
        nodes = cls(unit, int(layer))
        return nodes if nodes.name == name else None


def by_layer(records: Mapping[Nodes, Record]) -> dict[str, list[Record | None]]:
    """Unit -> the record of each layer, up to the last that has one; None where it has no such
    nodes.
    """
    last = {unit: max(n.layer for n in records if n.unit == unit) for unit, _ in records}
    return {
        unit: [records.get(Nodes(unit, layer)) for layer in range(end + 1)]
        for unit, end in last.items()
    }


@dataclass(frozen=True)
class Axis:
    """Where a layer's nodes lie in one tensor: along ``dim``, ``entries`` neighbouring rows or
    columns to a node.

    averaged: the tensor is the gain of a norm over all of them. With some gone the norm's mean is
    of fewer, and the gain makes up for it.
    """

    nodes: Nodes
    dim: int
    entries: int
    averaged: bool = False

    def cut(self, tensor: Tensor, stays: Tensor) -> Tensor:
        """The tensor without the nodes that are False in ``stays``."""
        index = stays.repeat_interleave(self.entries)
        return tensor[index] if self.dim == ROWS else tensor[:, index].contiguous()

    def narrowed(self, tensor: Tensor, stays: Tensor) -> Tensor:
        """``cut``, to the same function as with those nodes at zero."""
        return self._regained(self.cut(tensor, stays), len(stays), int(stays.sum()))

    def widened(self, tensor: Tensor, kept: Tensor) -> Tensor:
        """The inverse: the tensor over all nodes of ``kept``, zeros for those that are False."""
        shape = list(tensor.shape)
        shape[self.dim] = len(kept) * self.entries
        whole = self.paste(tensor, kept, tensor.new_zeros(shape))
        return self._regained(whole, int(kept.sum()), len(kept))

    def paste(self, tensor: Tensor, stays: Tensor, whole: Tensor) -> Tensor:
        """A copy of ``whole`` with the tensor in place of the nodes that are True in ``stays``."""
        return whole.clone().index_copy_(self.dim, self._places(stays), tensor)

    def spread(self, old: Tensor, new: Tensor, grown: Tensor) -> Tensor:
        """Both tensors in one: ``grown`` is True where a node of ``new`` stands, False where one of
        ``old`` does.
        """
        shape = list(old.shape)
        shape[self.dim] = len(grown) * self.entries
        out = old.new_empty(shape)
        out.index_copy_(self.dim, self._places(~grown), old)
        return out.index_copy_(self.dim, self._places(grown), new.to(old.dtype))

    def pad(self, tensor: Tensor, count: int) -> Tensor:
        """The tensor with zeros behind it, so that it holds ``count`` nodes."""
        held = self.count(tensor.shape)
        return self.widened(tensor, torch.arange(count) < held)

    def count(self, shape: tuple[int, ...]) -> int:
        """How many nodes a tensor of this shape holds."""
        return shape[self.dim] // self.entries

    def norms(self, tensor: Tensor) -> Tensor:
        """The norm of each node's entries in a matrix [out, in]: [nodes]."""
        if self.entries == 1:
            return tensor.norm(dim=1 - self.dim)
        rows = tensor if self.dim == ROWS else tensor.T
        return rows.reshape(self.count(tensor.shape), -1).norm(dim=1)

    def _regained(self, tensor: Tensor, before: int, after: int) -> Tensor:
        return tensor * (before / after) ** 0.5 if self.averaged and before != after else tensor

    def _places(self, stays: Tensor) -> Tensor:
        return torch.nonzero(stays.repeat_interleave(self.entries)).flatten()


@dataclass(frozen=True)
class Unit:
    """A row of the table, said of any block. A tensor belongs to one unit.

    one, many: what lists call a node and several of them. count: nodes in a block of the seed, 0
    where a model has no such thing. rows: module -> neighbouring rows of its weight and bias
    that are one node's. columns: module -> neighbouring columns of its weight; the first is where
    the nodes' values can be read. enters: the modules whose rows say how strongly a node is driven.
    gains: norms over all nodes' rows together. keys: the configuration's entries that say how many
    nodes there are. bound: whether all nodes of a block must stay, since other blocks need them.
    few: so few that lists call them by number.
    """

    one: str
    many: str
    count: Callable[[Block], int]
    rows: Callable[[Block], dict[str, int]]
    columns: Callable[[Block], dict[str, int]]
    enters: Callable[[Block], list[str]]
    gains: Callable[[Block], dict[str, int]] = lambda block: {}
    keys: Callable[[Layout, int], dict[str, int]] = lambda layout, count: {}
    bound: Callable[[Block], bool] = lambda block: False
    few: bool = False

    def counted(self, count: int) -> str:
        """So many nodes in words: ``1 FFN neuron``."""
        return f"{count} {self.one if count == 1 else self.many}"


UNITS: dict[str, Unit] = {
    "ffn": Unit(
        one="FFN neuron",
        many="FFN neurons",
        count=lambda block: block.ffn_width,
        rows=lambda block: dict.fromkeys(block.ffn_inputs, 1),
        columns=lambda block: {block.ffn_output: 1},
        enters=lambda block: block.ffn_inputs,
        keys=lambda layout, count: {layout.family.ffn.width: count},
    ),
    "kv": Unit(
        one="key-value group",
        many="key-value groups",
        count=lambda block: block.kv_heads,
        rows=lambda block: {
            block.query: block.group_width * (2 if block.family.attention.gated else 1),
            **dict.fromkeys(block.keys_and_values, block.head_size),
        },
        columns=lambda block: {block.output: block.group_width},
        enters=lambda block: [block.value],
        gains=lambda block: block.joint_norms,
        keys=lambda layout, count: {
            layout.family.attention.heads: count * layout.heads[0] // layout.heads[1],
            layout.family.attention.kv_heads: count,
        },
        bound=lambda block: block.reuses or block.is_reused,
        few=True,
    ),
}
