"""One model state: configuration, weights and masks, in memory.

Weights are canonical: every linear layer is [out, in] under its own name (GPT-2's fused and
transposed matrices are split and turned on the way in). Layers whose nodes were removed are
physically narrow; the node masks say which nodes of the seed are left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from birdbone.model.layout import Layout
from birdbone.model.masks import Masks
from birdbone.model.units import Nodes


@dataclass(frozen=True)
class Checkpoint:
    """A model between two stages. Make a changed one with ``evolve``; never edit in place.

    config: the seed's Hugging Face ``config.json`` as a dict; widths in it are the seed's.
    weights: canonical name -> tensor, narrow where nodes are gone. A tied head is left out.
    masks: which of the seed's nodes, and of the weights left, are kept.
    source: the folder this state was read from, unchanged; None once anything was changed.
    """

    config: dict
    weights: dict[str, Tensor]
    masks: Masks = field(default_factory=Masks)
    source: Path | None = None

    def evolve(self, weights: dict[str, Tensor] | None = None, masks: Masks | None = None) -> Checkpoint:
        """A new state with these weights and masks laid over the present ones."""
        return Checkpoint(self.config, {**self.weights, **(weights or {})}, self.masks | (masks or Masks()))

    @cached_property
    def layout(self) -> Layout:
        """Its parts by name, and where the nodes of each unit lie."""
        return Layout(self.config)

    @property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return self.layout.layers

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight."""
        return {name: tuple(weight.shape) for name, weight in self.weights.items()}

    @property
    def parameters(self) -> int:
        """Number of weights held, pruned nodes not counted, masked weights counted."""
        return sum(w.numel() for w in self.weights.values())

    @property
    def block_parameters(self) -> int:
        """Weights inside the decoder blocks' linear layers (biases left out)."""
        return self.layout.block_parameters(self.shapes)

    @property
    def macs_per_token(self) -> int:
        """Multiply-accumulates per token in linear layers and the output head (attention's products
        left out).
        """
        return self.layout.macs_per_token(self.shapes, self.masks.masked)

    def count(self, unit: str, layer: int) -> int:
        """Nodes of a unit that are left in a layer."""
        axes = self.layout.blocks[layer].axes_of(unit)
        present = (axis.count(self.weights[t].shape) for t, axis in axes.items() if t in self.weights)
        return next(present, 0)

    def counts(self, unit: str) -> list[int]:
        """The same for every layer."""
        return [self.count(unit, layer) for layer in range(self.layers)]

    def cost(self, unit: str) -> int:
        """Weights that go with one node of a unit."""
        return self.layout.cost(unit, self.shapes)

    def node_mask(self, nodes: Nodes) -> Tensor:
        """Which of a layer's nodes are kept, bool over the seed's; all where none was ever
        removed.
        """
        mask = self.masks.nodes.get(nodes)
        return torch.ones(self.layout.count(nodes), dtype=torch.bool) if mask is None else mask

    @property
    def digest(self) -> str:
        """SHA-256 over configuration, weights and masks; see ``tensors_digest``."""
        config = json.dumps(self.config, sort_keys=True, default=str).encode()
        outer = hashlib.sha256(config)
        outer.update(tensors_digest(self.weights).encode())
        outer.update(tensors_digest(self.masks.to_tensors()).encode())
        return outer.hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of one tensor's dtype, shape and bytes (hex)."""
    tensor = tensor.detach().cpu().contiguous()
    sha = hashlib.sha256(f"{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    if tensor.numel():
        sha.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return sha.hexdigest()


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over sorted (name, tensor digest), so that no file layout changes it."""
    return names_digest((name, tensor_digest(t)) for name, t in tensors.items())


def names_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over sorted (name, digest) pairs."""
    sha = hashlib.sha256()
    for name, digest in sorted(pairs):
        sha.update(f"{name}={digest}\n".encode())
    return sha.hexdigest()
