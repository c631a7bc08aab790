"""Cut every layer into experts, by each grouping."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.grids import GRIDS
from birdbone.algo.grouping import GROUPINGS
from birdbone.errors import ConfigError
from birdbone.mixture.model import check_family, expert_shape
from birdbone.mixture.split import evened, split_layers
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.folder import fits

Tensors = tuple[dict[str, Tensor], dict]


def split(
    source: Checkpoint,
    activations: Tensors,
    clusters: Tensors,
    texts: Tensors,
    settings: dict,
    kind: str,
    device: str,
    random_seed: int,
) -> Tensors:
    """Order of the nodes and routers of every layer, for each grouping; see ``split_layers``.

    kind: the GGUF file's tensor type, whose blocks an expert's width has to fill.

    Raises UnsupportedArchitectureError for a family that glm4_moe does not hold, ConfigError for experts
    that do not fit the layers.
    """
    check_family(source)
    lost = [n for n, w in source.weights.items() if w.ndim > 1 and kind == "F16" and not fits(w, torch.float16)]
    if lost:
        raise ConfigError(f"parameter moe.type: F16 cannot hold the values of {lost[0]}: set Q8_0 or F32")
    layers = range(source.layers)
    even, profiles, labels = evened(
        source,
        {i: activations[0][f"ffn.{i}.profile"] for i in layers},
        {i: clusters[0][f"ffn.{i}"] for i in layers},
    )
    multiple = GRIDS[kind].unit if kind in GRIDS else 1
    for name in (f"{module}.weight" for module in source.layout.blocks[0].linears[:-1]):
        if (columns := source.weights[name].shape[1]) % multiple:
            raise ConfigError(f"parameter moe.type: {kind} needs rows of multiples of {multiple}, {name} has {columns}")
    shape = expert_shape(even.count("ffn", 0), settings["experts"], settings["shared_share"], multiple)
    windows = texts[0]["calibration"]
    windows = windows[: max(1, settings["tokens"] // windows.shape[1])]
    found = split_layers(
        even, profiles, labels, windows, shape, GROUPINGS, settings["damping"], random_seed, resolve_device(device)
    )
    return found, {
        "experts": shape.experts,
        "width": shape.width,
        "shared": shape.shared,
        "active": settings["active"],
        "grouping": settings["grouping"],
    }
