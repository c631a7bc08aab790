"""Which nodes and which weights of a model are kept. Only this file knows how files spell their
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from birdbone.model.units import Nodes

WEIGHT = "weight."


@dataclass(frozen=True)
class Masks:
    """Explicit masks, True = kept; what has none is kept whole.

    nodes: bool over the *seed's* nodes. weights: by tensor, bool of the shape of that (narrow)
    tensor.
    """

    nodes: Mapping[Nodes, Tensor] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def __or__(self, other: Masks) -> Masks:
        """These with the other's laid over them."""
        return Masks({**self.nodes, **other.nodes}, {**self.weights, **other.weights})

    @property
    def masked(self) -> int:
        """Weights that the weight masks set to zero."""
        return sum(int((~mask).sum()) for mask in self.weights.values())

    def to_tensors(self) -> dict[str, Tensor]:
        """By the names in files: ``ffn.3``, ``weight.model.layers.3.mlp.up_proj.weight``."""
        nodes = {nodes.name: mask for nodes, mask in self.nodes.items()}
        return nodes | {weight_name(tensor): mask for tensor, mask in self.weights.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Masks:
        """The inverse. Raises ValueError for a name that is no mask's."""
        nodes, weights = {}, {}
        for name, mask in tensors.items():
            if tensor := masked_tensor(name):
                weights[tensor] = mask
            elif key := Nodes.parse(name):
                nodes[key] = mask
            else:
                raise ValueError(f"{name} is the name of no mask")
        return cls(nodes, weights)


def weight_name(tensor: str) -> str:
    """How files call the mask of a tensor."""
    return WEIGHT + tensor


def masked_tensor(name: str) -> str | None:
    """The tensor that a weight mask belongs to, by its name in files; None for any other name."""
    return name.removeprefix(WEIGHT) if name.startswith(WEIGHT) else None
