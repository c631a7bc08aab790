"""A dense model's layers cut into experts by several groupings, with the routers of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from birdbone.algo.grouping import grouped, shared_nodes
from birdbone.algo.mixture import expert_norms, read_router
from birdbone.mixture.model import ExpertShape, Mixture, mixture_of
from birdbone.model.blockwise import walk
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build
from birdbone.model.pruning.removal import padded
from birdbone.model.units import Nodes


@dataclass(frozen=True)
class Cut:
    """One layer cut into experts.

    order: its nodes, the shared expert's first, int32 [width]. router: as read from the nodes,
    float32 [experts, hidden].
    """

    order: Tensor
    router: Tensor


@dataclass(frozen=True)
class Split:
    """A model cut into experts, by each grouping: name -> the cut of each layer.

    experts, of ``width`` nodes each, beside ``shared`` nodes that are always on; active: experts on
    at each token in the files; grouping: the one of the files.
    """

    groupings: dict[str, list[Cut]]
    experts: int
    width: int
    shared: int
    active: int
    grouping: str

    @property
    def about(self) -> dict:
        """All but the tensors, as JSON can hold it."""
        return {
            name: getattr(self, name)
            for name in ("experts", "width", "shared", "active", "grouping")
        }

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``<grouping>.<layer>.order`` and ``.router``."""
        tensors = {}
        for grouping, cuts in self.groupings.items():
            for layer, cut in enumerate(cuts):
                tensors[f"{grouping}.{layer}.order"] = cut.order
                tensors[f"{grouping}.{layer}.router"] = cut.router
        return tensors, self.about

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Split:
        """What ``to_tensors`` gave."""
        names = dict.fromkeys(name.partition(".")[0] for name in tensors)
        layers = range(len(tensors) // (2 * len(names)))
        groupings = {
            name: [Cut(tensors[f"{name}.{i}.order"], tensors[f"{name}.{i}.router"]) for i in layers]
            for name in names
        }
        return cls(
            groupings,
            **{name: about[name] for name in ("experts", "width", "shared", "active", "grouping")},
        )


@dataclass(frozen=True)
class Routers:
    """Healed routers, float32 [experts, hidden] a layer, for the files' grouping.

    kl: on check text before and after, nats per token; None where nothing was healed. kept: whether
    they are others than those read off.
    """

    layers: list[Tensor]
    steps: int = 0
    kl: list[float] | None = None
    kept: bool = False

    @property
    def about(self) -> dict:
        """All but the tensors, as JSON can hold it."""
        return {"steps": self.steps, "kl": self.kl, "kept": self.kept}

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``<layer>.router``."""
        return {f"{layer}.router": router for layer, router in enumerate(self.layers)}, self.about

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> Routers:
        """What ``to_tensors`` gave."""
        return cls([tensors[f"{layer}.router"] for layer in range(len(tensors))], **about)


def split_layers(
    checkpoint: Checkpoint,
    profiles: dict[int, Tensor],
    clusters: dict[int, Tensor],
    windows: Tensor,
    shape: ExpertShape,
    groupings: Sequence[str],
    damping: float,
    random_seed: int,
    device: str,
) -> dict[str, list[Cut]]:
    """Grouping -> the cut of every layer.

    checkpoint: of even width (see ``evened``); profiles: layer -> [seed's width, tokens]; clusters:
    layer -> [seed's width]; windows: token windows that the routers are read on. All groupings of a
    layer share its shared expert.
    """
    cuts: dict[str, list[Cut]] = {grouping: [] for grouping in groupings}
    network = build(checkpoint, device)
    for layer, batches in walk(network, checkpoint.layout, windows, "split into experts"):
        block = checkpoint.layout.blocks[layer]
        rows = [
            (batch[block.ffn_inputs[0]].cpu(), batch[block.ffn_output].cpu()) for batch in batches
        ]
        x, h = (torch.cat(part) for part in zip(*rows, strict=True))
        down = checkpoint.weights[f"{block.ffn_output}.weight"].float()
        profile = profiles[layer].float()
        labels = clusters[layer].long()
        shared = shared_nodes(profile.abs() * down.norm(dim=0)[:, None], shape.shared)
        routed = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, shared, False)
        free = routed.nonzero()[:, 0]
        for grouping in groupings:
            expert = grouped(
                grouping, profile[free], labels[free], shape.experts, random_seed + layer
            )
            groups = [free[expert == number] for number in range(shape.experts)]
            order = torch.cat([shared, *groups]).int()
            router = read_router(x, expert_norms(h, down, groups), damping)
            cuts[grouping].append(Cut(order, router))
    return cuts


def evened(
    checkpoint: Checkpoint, profiles: dict[int, Tensor], clusters: dict[int, Tensor]
) -> tuple[Checkpoint, dict[int, Tensor], dict[int, Tensor]]:
    """Model, profiles and labels at one width in all layers, since glm4_moe has one expert width.

    Narrower layers get nodes of zero weight and zero profile, in a cluster of their own. Profiles
    and labels of removed nodes are dropped.
    """
    even, shape = padded(checkpoint)
    width = shape["ffn_width"]
    rows = {}
    labels = {}
    for layer in range(checkpoint.layers):
        kept = checkpoint.node_mask(Nodes("ffn", layer))
        missing = width - checkpoint.count("ffn", layer)
        rows[layer] = torch.nn.functional.pad(profiles[layer][kept], (0, 0, 0, missing))
        labels[layer] = torch.nn.functional.pad(
            clusters[layer][kept], (0, missing), value=int(clusters[layer].max()) + 1
        )
    return even, rows, labels


def mixture_from(
    checkpoint: Checkpoint, split: Split, healed: Routers | None = None, grouping: str | None = None
) -> Mixture:
    """A mixture of the model that was split.

    healed: other routers for the files' grouping. grouping: another one than the files'.
    """
    cuts = split.groupings[grouping or split.grouping]
    routers = healed.layers if healed else [cut.router for cut in cuts]
    shape = ExpertShape(split.experts, split.width, split.shared)
    orders = [cut.order for cut in cuts]
    return mixture_of(padded(checkpoint)[0], orders, routers, shape, split.active)
