"""What a model is made of: its blocks' modules by name, and the one table of the units that may go.

A *unit* is a kind of thing a wave may remove or bring back, a *node* one of them. ``UNITS`` says for each unit
which rows and columns of which modules belong to a node. Removing, growing, padding, scoring, change lists and
GGUF keys all read it, so that another unit is another row of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from birdbone.model.family import Family, family_of

ROWS, COLUMNS = 0, 1
Shapes = Mapping[str, tuple[int, ...]]


class Nodes(NamedTuple):
    """The nodes of one unit in one layer, ``ffn.3``: the key of their mask, their scores and their clusters."""

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


@dataclass(frozen=True)
class Axis:
    """Where a layer's nodes lie in one tensor: along ``dim``, ``entries`` neighbouring rows or columns to a node.

    averaged: the tensor is the gain of a norm over all of them. With some gone the norm's mean is of fewer, and the
    gain makes up for it.
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
        """Both tensors in one: ``grown`` is True where a node of ``new`` stands, False where one of ``old`` does."""
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
    """A row of the table, said of any block.

    count: nodes in a block of the seed. rows: module -> neighbouring rows of its weight and bias that are one node's.
    columns: module -> neighbouring columns of its weight; the first is where the nodes' values can be read.
    enters: the modules whose rows say how strongly a node is driven. gains: norms over all nodes' rows together.
    few: so few that lists call them by number.
    """

    one: str
    many: str
    count: Callable[[Block], int]
    rows: Callable[[Block], dict[str, int]]
    columns: Callable[[Block], dict[str, int]]
    enters: Callable[[Block], list[str]]
    gains: Callable[[Block], dict[str, int]] = lambda block: {}
    few: bool = False


UNITS: dict[str, Unit] = {
    "ffn": Unit(
        one="FFN neuron",
        many="FFN neurons",
        count=lambda block: block.ffn_width,
        rows=lambda block: dict.fromkeys(block.ffn_inputs, 1),
        columns=lambda block: {block.ffn_output: 1},
        enters=lambda block: block.ffn_inputs,
    ),
    "kv": Unit(
        one="key-value group",
        many="key-value groups",
        count=lambda block: block.kv_heads,
        rows=lambda block: {
            block.query: block.group_width,
            block.key: block.head_size,
            block.value: block.head_size,
        },
        columns=lambda block: {block.output: block.group_width},
        enters=lambda block: [block.value],
        gains=lambda block: block.joint_norms,
        few=True,
    ),
}


@dataclass(frozen=True)
class Block:
    """One decoder block: its modules by full name, its sizes in the seed.

    inputs: modules by the input they share, keyed by the first of each.
    """

    layer: int
    family: Family
    ffn_width: int
    heads: int
    kv_heads: int
    head_size: int

    def part(self, name: str) -> str:
        """Full name of a module of the block: ``mlp.up_proj`` -> ``model.layers.3.mlp.up_proj``."""
        return f"{self.family.blocks}.{self.layer}.{name}"

    @property
    def prefix(self) -> str:
        """What the names of all its tensors begin with."""
        return self.part("")

    @property
    def group_width(self) -> int:
        """Query heads' features that belong to one key-value group."""
        return self.heads // self.kv_heads * self.head_size

    @property
    def query(self) -> str:
        return self.part(self.family.attention.query)

    @property
    def key(self) -> str:
        return self.part(self.family.attention.key)

    @property
    def value(self) -> str:
        return self.part(self.family.attention.value)

    @property
    def output(self) -> str:
        """Attention's outgoing projection."""
        return self.part(self.family.attention.output)

    @property
    def ffn_inputs(self) -> list[str]:
        """Modules whose rows are the block's neurons."""
        return [self.part(name) for name in self.family.ffn.inputs]

    @property
    def ffn_output(self) -> str:
        """The module whose columns are the block's neurons."""
        return self.part(self.family.ffn.output)

    @property
    def norms(self) -> list[str]:
        """Every norm, those of query and key included."""
        norms = self.family.norms
        heads = self.family.head_norms
        names = [norms.attention, norms.ffn, *norms.after, *([heads.query, heads.key] if heads else [])]
        return [self.part(name) for name in names if name]

    @property
    def joint_norms(self) -> dict[str, int]:
        """Norms over all heads of query or key at once -> rows of one key-value group."""
        norms = self.family.head_norms
        if norms is None or norms.over == "head":
            return {}
        return {self.part(norms.query): self.group_width, self.part(norms.key): self.head_size}

    @property
    def attention(self) -> str:
        """The module that attention's projections belong to."""
        return self.output.rpartition(".")[0]

    @property
    def ffn(self) -> str:
        """The module that the feed-forward network's projections belong to."""
        return self.ffn_output.rpartition(".")[0]

    @property
    def linears(self) -> list[str]:
        """Every linear module, in the order of the data's flow."""
        return [self.query, self.key, self.value, self.output, *self.ffn_inputs, self.ffn_output]

    @property
    def inputs(self) -> dict[str, list[str]]:
        """Linear modules by the input they share, keyed by the first of each."""
        sharing = ([self.query, self.key, self.value], [self.output], self.ffn_inputs, [self.ffn_output])
        return {modules[0]: modules for modules in sharing}

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Every tensor that is narrower for each removed node, by name; biases whether present or not."""
        axes: dict[str, Axis] = {}
        for name, unit in UNITS.items():
            nodes = Nodes(name, self.layer)
            for module, entries in unit.rows(self).items():
                axes[f"{module}.weight"] = axes[f"{module}.bias"] = Axis(nodes, ROWS, entries)
            for module, entries in unit.columns(self).items():
                axes[f"{module}.weight"] = Axis(nodes, COLUMNS, entries)
            for module, entries in unit.gains(self).items():
                axes[f"{module}.weight"] = Axis(nodes, ROWS, entries, averaged=True)
        return axes

    def rows(self, module: str) -> int:
        """Rows in the seed of a module whose rows are nodes."""
        axis = self.axes[f"{module}.bias"]
        return axis.entries * UNITS[axis.nodes.unit].count(self)

    def axes_of(self, unit: str) -> dict[str, Axis]:
        """Those of one unit."""
        return {tensor: axis for tensor, axis in self.axes.items() if axis.nodes.unit == unit}

    def reader(self, unit: str) -> str:
        """The module whose input is what the unit's nodes hand on."""
        return next(iter(UNITS[unit].columns(self)))


class Layout:
    """A model's parts, from its configuration alone. Widths and heads in it are the seed's."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Raises UnsupportedArchitectureError for an unknown family."""
        self.family = family_of(config)
        self.config = config

    @property
    def embedding(self) -> str:
        """The token embedding's weight."""
        return f"{self.family.embedding}.weight"

    @property
    def head(self) -> str:
        """The output head's weight; a tied one is not among a checkpoint's weights."""
        return f"{self.family.head}.weight"

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Every decoder block, in order."""
        sizes = {
            "ffn_width": self._ffn_width,
            "heads": self._heads,
            "kv_heads": int(self.config.get(self.family.attention.kv_heads) or self._heads),
            "head_size": self._head_size,
        }
        return tuple(Block(layer, self.family, **sizes) for layer in range(self.layers))

    @property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return int(self.config.get("num_hidden_layers") or self.config["n_layer"])

    @property
    def linears(self) -> list[str]:
        """Every linear module of every block, in the order of the data's flow."""
        return [name for block in self.blocks for name in block.linears]

    @property
    def units(self) -> list[str]:
        """The units that this model has nodes of."""
        return [name for name, unit in UNITS.items() if any(map(unit.count, self.blocks))]

    @property
    def nodes(self) -> list[Nodes]:
        """Every layer's nodes, unit by unit."""
        return [Nodes(unit, block.layer) for unit in self.units for block in self.blocks]

    @cached_property
    def fused(self) -> dict[str, dict[str, int]]:
        """Modules that the stock class keeps as one: its full name -> its parts and their rows, in order."""
        return {
            block.part(stored): {block.part(part): block.rows(block.part(part)) for part in parts}
            for block in self.blocks
            for stored, parts in self.family.fused.items()
        }

    @cached_property
    def transposed(self) -> frozenset[str]:
        """Modules whose weights the stock class keeps as [in, out]."""
        return frozenset(block.part(name) for block in self.blocks for name in self.family.transposed)

    def count(self, nodes: Nodes) -> int:
        """How many of these nodes the seed has."""
        return UNITS[nodes.unit].count(self.blocks[nodes.layer])

    def cost(self, unit: str, shapes: Shapes) -> int:
        """Weights that go with one node of a unit, biases left out; shapes: of a model's tensors."""
        matrices = {t: axis for t, axis in self.blocks[0].axes_of(unit).items() if len(shapes.get(t, ())) == 2}
        return sum(axis.entries * shapes[tensor][1 - axis.dim] for tensor, axis in matrices.items())

    def block_parameters(self, shapes: Shapes) -> int:
        """Weights inside the blocks' linear layers, biases left out."""
        return sum(math.prod(shapes[f"{name}.weight"]) for name in self.linears)

    def macs_per_token(self, shapes: Shapes, masked: int) -> int:
        """Multiply-accumulates per token in linear layers and head, less ``masked`` weights; attention's own are
        left out.
        """
        return self.block_parameters(shapes) + math.prod(shapes[self.embedding]) - masked

    @property
    def _ffn_width(self) -> int:
        ffn = self.family.ffn
        if self.config.get(ffn.width):
            return int(self.config[ffn.width])
        factor, key = ffn.width_default.split(" * ")
        return int(factor) * int(self.config[key])

    @property
    def _heads(self) -> int:
        return int(self.config[self.family.attention.heads])

    @property
    def _head_size(self) -> int:
        hidden = int(self.config.get("hidden_size") or self.config["n_embd"])
        return int(self.config.get("head_dim") or hidden // self._heads)
