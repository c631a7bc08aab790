"""A dense model's layers cut into experts, several ways, and the routers read for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from birdbone.algo.grouping import grouped, shared_nodes
from birdbone.algo.mixture import expert_norms, read_router
from birdbone.mixture.model import ExpertShape, Mixture, mixture_of
from birdbone.model.blockwise import walk
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Nodes
from birdbone.model.network import build
from birdbone.model.pruning.removal import padded


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
) -> dict[str, Tensor]:
    """``<grouping>.<layer>.order`` int32 [width] and ``.router`` float32 [experts, hidden] of every layer.

    checkpoint: of even width (see ``evened``); profiles: layer -> [seed's width, tokens]; clusters: layer ->
    [seed's width]; windows: token windows that the routers are read on. All groupings of a layer share its
    shared expert.
    """
    tensors: dict[str, Tensor] = {}
    network = build(checkpoint, device)
    for layer, batches in walk(network, checkpoint.layout, windows, "split into experts"):
        block = checkpoint.layout.blocks[layer]
        rows = [(batch[block.ffn_inputs[0]].cpu(), batch[block.ffn_output].cpu()) for batch in batches]
        x, h = (torch.cat(part) for part in zip(*rows, strict=True))
        down = checkpoint.weights[f"{block.ffn_output}.weight"].float()
        profile, labels = profiles[layer].float(), clusters[layer].long()
        shared = shared_nodes(profile.abs() * down.norm(dim=0)[:, None], shape.shared)
        free = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, shared, False).nonzero()[:, 0]
        for grouping in groupings:
            expert = grouped(grouping, profile[free], labels[free], shape.experts, random_seed + layer)
            groups = [free[expert == number] for number in range(shape.experts)]
            tensors[f"{grouping}.{layer}.order"] = torch.cat([shared, *groups]).int()
            tensors[f"{grouping}.{layer}.router"] = read_router(x, expert_norms(h, down, groups), damping)
    return tensors


def evened(
    checkpoint: Checkpoint, profiles: dict[int, Tensor], clusters: dict[int, Tensor]
) -> tuple[Checkpoint, dict[int, Tensor], dict[int, Tensor]]:
    """Model, profiles and cluster labels at one width for all layers, since glm4_moe has one expert width.

    Narrower layers get nodes of zero weight, whose profile is zero and which are a cluster of their own;
    profiles and labels of removed nodes go.
    """
    even, shape = padded(checkpoint)
    width, rows, labels = shape["ffn_width"], {}, {}
    for layer in range(checkpoint.layers):
        kept = checkpoint.node_mask(Nodes("ffn", layer))
        missing = width - checkpoint.count("ffn", layer)
        rows[layer] = torch.nn.functional.pad(profiles[layer][kept], (0, 0, 0, missing))
        labels[layer] = torch.nn.functional.pad(
            clusters[layer][kept], (0, missing), value=int(clusters[layer].max()) + 1
        )
    return even, rows, labels


def mixture_from(
    checkpoint: Checkpoint,
    found: tuple[dict[str, Tensor], dict],
    healed: tuple[dict[str, Tensor], dict] | None = None,
    grouping: str | None = None,
) -> Mixture:
    """A mixture of the model that was split. found: layers and shape, as the split has them; healed: other routers
    for the chosen grouping; grouping: another one than the chosen.
    """
    tensors, about = found
    name, layers = grouping or about["grouping"], range(checkpoint.layers)
    routers = [healed[0][f"{i}.router"] if healed else tensors[f"{name}.{i}.router"] for i in layers]
    orders = [tensors[f"{name}.{i}.order"] for i in layers]
    shape = ExpertShape(about["experts"], about["width"], about["shared"])
    return mixture_of(padded(checkpoint)[0], orders, routers, shape, about["active"])
