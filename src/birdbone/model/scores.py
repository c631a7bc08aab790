"""What a scan says of a model's parts: scores of nodes, and where an error would matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.units import Nodes

FISHER, TOKENS = "fisher.", "tokens."


@dataclass(frozen=True)
class Scores:
    """A scan's results.

    nodes: (nodes, score's name) -> [nodes], of the seed. fisher: module -> mean squared gradient of
    its outputs [out]. tokens: module -> the weight of each calibration token [N, T]. about: what
    was scanned.
    """

    nodes: Mapping[tuple[Nodes, str], Tensor] = field(default_factory=dict)
    fisher: Mapping[str, Tensor] = field(default_factory=dict)
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def of(self, unit: str, layer: int, score: str) -> Tensor:
        """One score of a layer's nodes [nodes]."""
        return self.nodes[Nodes(unit, layer), score]

    def fisher_left(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """``fisher`` of the outputs that the checkpoint still has, by module."""
        left = {}
        for block in checkpoint.layout.blocks:
            for module in block.linears:
                axis = block.axes.get(f"{module}.bias")
                fisher = self.fisher[module]
                left[module] = axis.cut(fisher, checkpoint.node_mask(axis.nodes)) if axis else fisher
        return left

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """By the names in files: ``ffn.3.taylor``, ``fisher.<module>``, ``tokens.<module>``."""
        nodes = {f"{nodes.name}.{score}": values for (nodes, score), values in self.nodes.items()}
        fisher = {FISHER + module: values for module, values in self.fisher.items()}
        return nodes | fisher | {TOKENS + m: values for m, values in self.tokens.items()}, self.about

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], about: dict) -> Scores:
        """The inverse. Raises ValueError for a name that is no score's."""
        nodes: dict[tuple[Nodes, str], Tensor] = {}
        fisher: dict[str, Tensor] = {}
        tokens: dict[str, Tensor] = {}
        for name, values in tensors.items():
            if name.startswith(FISHER):
                fisher[name.removeprefix(FISHER)] = values
            elif name.startswith(TOKENS):
                tokens[name.removeprefix(TOKENS)] = values
            else:
                key, _, score = name.rpartition(".")
                scored = Nodes.parse(key)
                if scored is None:
                    raise ValueError(f"{name} is the name of no score")
                nodes[scored, score] = values
        return cls(nodes, fisher, tokens, about)


def joint_norms(matrices: list[Tensor]) -> Tensor:
    """The norm of each row over all matrices [rows, columns] together: [rows]."""
    return torch.stack([matrix.square().sum(1) for matrix in matrices]).sum(0).sqrt()
