"""What every node does on the calibration text, and which nodes respond alike.

Legend: S sampled tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from birdbone.model.units import Nodes, by_layer


@dataclass(frozen=True)
class Activity:
    """The nodes of one kind in one layer: mean, variance, firing_rate [nodes]; profile float16
    [nodes, S].
    """

    mean: Tensor
    variance: Tensor
    firing_rate: Tensor
    profile: Tensor


@dataclass(frozen=True)
class Activations:
    """layers: unit (``ffn``, ``kv``) -> the activity in each layer, None where it has no such nodes.
    tokens: read in all.
    """

    layers: dict[str, list[Activity | None]]
    tokens: int
    sampled_tokens: int

    def profiles(self, kind: str) -> list[Tensor]:
        """What each node of a kind does at the sampled tokens, by layer: float16 [nodes, S]."""
        return [activity.profile for activity in self.layers[kind]]

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``ffn.<layer>.mean`` and so on."""
        tensors = {
            f"{kind}.{layer}.{name}": getattr(activity, name)
            for kind, layers in self.layers.items()
            for layer, activity in enumerate(layers)
            if activity is not None
            for name in NAMES
        }
        count = len(next(iter(self.layers.values())))
        about = {"tokens": self.tokens, "sampled_tokens": self.sampled_tokens, "layers": count}
        return tensors, about

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Activations:
        """What ``to_tensors`` gave."""
        stored = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
        records = {
            Nodes.parse(nodes): Activity(*(tensors[f"{nodes}.{name}"] for name in NAMES))
            for nodes in stored
        }
        return cls(by_layer(records), about["tokens"], about["sampled_tokens"])


NAMES = [field.name for field in fields(Activity)]


@dataclass(frozen=True)
class Clusters:
    """Labels of the feed-forward neurons, int32 [nodes] a layer, 0 the largest cluster.

    layers: clusters of one layer's own neurons. across: clusters over all layers, where the same
    label is the same cluster in every layer; None where they were not asked for. counts: of each
    layer's own.
    """

    layers: list[Tensor]
    across: list[Tensor] | None
    counts: list[int]

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``ffn.<layer>`` and ``model.<layer>``."""
        tensors = {f"ffn.{layer}": labels for layer, labels in enumerate(self.layers)}
        tensors |= {f"model.{layer}": labels for layer, labels in enumerate(self.across or [])}
        return tensors, {"clusters": self.counts}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Clusters:
        """What ``to_tensors`` gave."""
        counts = about["clusters"]
        layers = [tensors[f"ffn.{layer}"] for layer in range(len(counts))]
        across = [tensors[f"model.{layer}"] for layer in range(len(counts))] if "model.0" in tensors else None
        return cls(layers, across, counts)


@dataclass(frozen=True)
class Experts:
    """Clusters of the domains' profiles: layer -> int32 [nodes].

    scope: ``layer``, or ``model`` where a label means the same expert in every layer. model: digest
    of the model they were found in. domains: names of the labelled sets.
    """

    labels: dict[int, Tensor]
    scope: str
    model: str
    domains: list[str]

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``ffn.<layer>``."""
        tensors = {f"ffn.{layer}": labels for layer, labels in self.labels.items()}
        return tensors, {"clusters": self.scope, "model": self.model, "labels": self.domains}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Experts:
        """What ``to_tensors`` gave."""
        layers = range(len(tensors))
        labels = {layer: tensors[f"ffn.{layer}"] for layer in layers}
        return cls(labels, about["clusters"], about["model"], about["labels"])
