"""What a model is made of: its blocks' modules by name, and their sizes, from its configuration
alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from birdbone.model.family import Family, family_of
from birdbone.model.units import COLUMNS, ROWS, UNITS, Axis, Nodes

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Block:
    """One decoder block: its modules by full name, its sizes in the seed.

    config: the model's configuration, what the layer has of its own laid over it.
    heads, kv_heads: 0 where linear attention stands in place of attention. reuses: attention has no
    keys and values of its own but those of an earlier layer; is_reused: a later layer may read this
    one's. inputs: modules by the input they share, keyed by the first of each.
    """

    layer: int
    family: Family
    config: dict[str, Any] = field(repr=False, compare=False)
    ffn_width: int
    heads: int
    kv_heads: int
    head_size: int
    reuses: bool = False
    is_reused: bool = False
    values_are_keys: bool = False
    side: tuple[str, ...] = ()

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
        """The module that gives the values: the keys' own where they are one."""
        return self.key if self.values_are_keys else self.part(self.family.attention.value)

    @property
    def keys_and_values(self) -> list[str]:
        """The modules that give them; none where another layer's are read."""
        return [] if self.reuses else list(dict.fromkeys([self.key, self.value]))

    @property
    def attends(self) -> bool:
        """Whether it has attention with heads, and no linear attention in its place."""
        return self.heads > 0

    @property
    def attention_inputs(self) -> list[str]:
        """Modules that read what comes out of attention's norm."""
        if self.attends:
            return [self.query, *self.keys_and_values]
        return [self.part(name) for name in self.family.linear_attention.inputs]

    @property
    def output(self) -> str:
        """Attention's outgoing projection."""
        kind = self.family.attention if self.attends else self.family.linear_attention
        return self.part(kind.output)

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
        names = [norms.attention, norms.ffn, *norms.after]
        heads = self.family.head_norms
        if heads and self.attends:
            names += [heads.query] if self.reuses else [heads.query, heads.key]
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
        return [module for modules in self.inputs.values() for module in modules]

    @property
    def inputs(self) -> dict[str, list[str]]:
        """Linear modules by the input they share, keyed by the first of each.

        Attention's come first, then the feed-forward network's, then those of any other unit.
        """
        sharing = [self.attention_inputs, [self.output], self.ffn_inputs, [self.ffn_output]]
        sharing += [[self.part(name)] for name in self.side]
        for name, unit in UNITS.items():
            if name not in ("ffn", "kv") and unit.count(self):
                sharing += [list(unit.rows(self)), list(unit.columns(self))]
        return {modules[0]: modules for modules in sharing if modules}

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Every tensor that is narrower for each removed node, by name; biases whether present or
        not.

        Raises ValueError where two units claim one tensor.
        """
        axes: dict[str, Axis] = {}
        for name, unit in UNITS.items():
            if not unit.count(self):
                continue
            nodes = Nodes(name, self.layer)
            own: dict[str, Axis] = {}
            for module, entries in unit.rows(self).items():
                own[f"{module}.weight"] = own[f"{module}.bias"] = Axis(nodes, ROWS, entries)
            for module, entries in unit.columns(self).items():
                own[f"{module}.weight"] = Axis(nodes, COLUMNS, entries)
            for module, entries in unit.gains(self).items():
                own[f"{module}.weight"] = Axis(nodes, ROWS, entries, averaged=True)
            for tensor in own.keys() & axes.keys():
                raise ValueError(
                    f"UNITS: {axes[tensor].nodes.unit} and {name} both claim {tensor}; a tensor "
                    "belongs to one unit"
                )
            axes |= own
        return axes

    @property
    def units(self) -> list[str]:
        """The units that it has removable nodes of."""
        return [name for name, unit in UNITS.items() if unit.count(self) and not unit.bound(self)]

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
    def outer(self) -> list[str]:
        """Further matrices outside the blocks; a model may lack them."""
        return [f"{module}.weight" for module in self.family.outer]

    @property
    def head(self) -> str:
        """The output head's weight; a tied one is not among a checkpoint's weights."""
        return f"{self.family.head}.weight"

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Every decoder block, in order."""
        return tuple(self._block(layer) for layer in range(self.layers))

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
        present = {unit for block in self.blocks for unit in block.units}
        return [unit for unit in UNITS if unit in present]

    @property
    def nodes(self) -> list[Nodes]:
        """Every layer's nodes, unit by unit."""
        return [
            Nodes(unit, block.layer)
            for unit in self.units
            for block in self.blocks
            if unit in block.units
        ]

    @property
    def kinds(self) -> list[str | None]:
        """The kind of each layer, where the family has several."""
        kinds = self.family.kinds
        return self.config[kinds.key] if kinds else [None] * self.layers

    @property
    def first_reusing(self) -> int:
        """From this layer on, keys and values are those of earlier layers."""
        key = self.family.attention.reusing
        return self.layers - int((key and self.config.get(key)) or 0)

    @cached_property
    def fused(self) -> dict[str, dict[str, int]]:
        """Modules that the stock class keeps as one: its full name -> its parts and their rows, in
        order.
        """
        return {
            block.part(stored): {block.part(part): block.rows(block.part(part)) for part in parts}
            for block in self.blocks
            for stored, parts in self.family.fused.items()
        }

    @cached_property
    def transposed(self) -> frozenset[str]:
        """Modules whose weights the stock class keeps as [in, out]."""
        return frozenset(
            block.part(name) for block in self.blocks for name in self.family.transposed
        )

    @cached_property
    def kept(self) -> frozenset[str]:
        """Modules and single tensors by full name that may be missing."""
        family = self.family
        parts = {block.part(name) for block in self.blocks for name in family.kept}
        return frozenset(parts | {*family.outer, *family.outer_kept})

    def usual(self, unit: str) -> int:
        """How many nodes of a unit the configuration gives a layer that has none of its own
        number.
        """
        if unit == "kv":
            return self.heads[1]
        return next(filter(None, map(UNITS[unit].count, self.blocks)))

    def count(self, nodes: Nodes) -> int:
        """How many of these nodes the seed has."""
        return UNITS[nodes.unit].count(self.blocks[nodes.layer])

    def cost(self, unit: str, shapes: Shapes) -> int:
        """Weights that go with one node of a unit, biases left out; shapes: of a model's tensors.

        Where layers differ, in the one where they are most.
        """
        return max(
            _weights_of_node(block.axes_of(unit), shapes)
            for block in self.blocks
            if unit in block.units
        )

    def block_parameters(self, shapes: Shapes) -> int:
        """Weights inside the blocks' linear layers, biases left out."""
        return sum(math.prod(shapes[f"{name}.weight"]) for name in self.linears)

    def macs_per_token(self, shapes: Shapes, masked: int) -> int:
        """Multiply-accumulates per token in linear layers and head, less ``masked`` weights;
        attention's own are left out.
        """
        return self.block_parameters(shapes) + math.prod(shapes[self.embedding]) - masked

    def unbroken(self, module: str, columns: int) -> int:
        """How many neighbouring columns of a matrix with so many stay neighbours in a GGUF file."""
        tiled = self.family.gguf.tiled
        if tiled is None or self.config[tiled.heads] == self.config[tiled.groups]:
            return columns
        return int(self.config[tiled.size]) if module.endswith(tiled.columns) else columns

    @property
    def heads(self) -> tuple[int, int]:
        """(query heads, key-value heads) of a layer that has none of its own."""
        attention = self.family.attention
        heads = int(self.config[attention.heads])
        return heads, int(self.config.get(attention.kv_heads) or heads)

    @property
    def heads_are_fixed(self) -> bool:
        """Whether a folder keeps the seed's heads: a head's size hangs on them, or layers differ in
        theirs.
        """
        attention = self.family.attention
        return attention.fixed or any(
            attention.kv_heads in self.own(layer) for layer in range(self.layers)
        )

    def own(self, layer: int) -> dict[str, Any]:
        """What of the configuration a layer has of its own."""
        key = self.family.attention.per_layer
        of_layers = (key and self.config.get(key)) or {}
        return next((own for number, own in of_layers.items() if int(number) == layer), {})

    def _block(self, layer: int) -> Block:
        attention = self.family.attention
        config = self.config | self.own(layer)
        kind = self.kinds[layer]
        heads = int(config[attention.heads])
        head_size = int(
            config.get("head_dim") or int(config.get("hidden_size") or config["n_embd"]) // heads
        )
        first = self.first_reusing
        reuses = layer >= first
        linear = self.family.linear_attention
        attends = linear is None or kind != linear.kind
        equal = attention.values_are_keys
        side = self.family.side
        return Block(
            layer,
            self.family,
            config,
            ffn_width=self._ffn_width(reuses),
            heads=heads if attends else 0,
            kv_heads=int(config.get(attention.kv_heads) or heads) if attends else 0,
            head_size=head_size,
            reuses=reuses,
            is_reused=first < self.layers
            and not reuses
            and kind not in self.kinds[layer + 1 : first],
            values_are_keys=bool(equal and config.get(equal.key) and kind == equal.kind),
            side=side.linears if side and config.get(side.key) else (),
        )

    def _ffn_width(self, reuses: bool) -> int:
        ffn = self.family.ffn
        if not self.config.get(ffn.width) and ffn.width_default:
            factor, key = ffn.width_default.split(" * ")
            return int(factor) * int(self.config[key])
        doubled = reuses and ffn.doubled and self.config.get(ffn.doubled)
        return int(self.config[ffn.width]) * (2 if doubled else 1)


def _weights_of_node(axes: dict[str, Axis], shapes: Shapes) -> int:
    matrices = {tensor: axis for tensor, axis in axes.items() if len(shapes.get(tensor, ())) == 2}
    return sum(axis.entries * shapes[tensor][1 - axis.dim] for tensor, axis in matrices.items())
