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
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """A model between two stages. Make a changed one with ``evolve``; never edit in place.

    config: the seed's Hugging Face ``config.json`` as a dict; widths in it are the seed's.
    weights: canonical name -> tensor, narrow where nodes are gone. A tied head is left out.
    masks: ``ffn.<layer>`` and ``kv.<layer>`` are bool over the *seed's* neurons and key-value
        groups (1 = kept); ``weight.<name>`` is bool of the shape of that narrow weight.
    source: the folder this state was read from, unchanged; None once anything was changed.
    """

    config: dict
    weights: dict[str, Tensor]
    masks: dict[str, Tensor] = field(default_factory=dict)
    source: Path | None = None

    def evolve(
        self,
        weights: dict[str, Tensor] | None = None,
        masks: dict[str, Tensor] | None = None,
    ) -> Checkpoint:
        """A new state with these weights and masks laid over the present ones."""
        return Checkpoint(self.config, {**self.weights, **(weights or {})}, {**self.masks, **(masks or {})})

    @property
    def layers(self) -> int:
        """Number of decoder blocks."""
        return int(self.config.get("num_hidden_layers") or self.config["n_layer"])

    @property
    def parameters(self) -> int:
        """Number of weights held, pruned nodes not counted, masked weights counted."""
        return sum(w.numel() for w in self.weights.values())

    @property
    def digest(self) -> str:
        """SHA-256 over configuration, weights and masks; see ``tensors_digest``."""
        config = json.dumps(self.config, sort_keys=True, default=str).encode()
        outer = hashlib.sha256(config)
        outer.update(tensors_digest(self.weights).encode())
        outer.update(tensors_digest(self.masks).encode())
        return outer.hexdigest()

    def node_mask(self, kind: str, layer: int, width: int) -> Tensor:
        """The ``ffn`` or ``kv`` mask of a layer; all kept where none was ever removed."""
        found = self.masks.get(f"{kind}.{layer}")
        return torch.ones(width, dtype=torch.bool) if found is None else found


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
