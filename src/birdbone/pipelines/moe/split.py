"""Cut every layer into experts, by each grouping."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from birdbone.algo.grids import GRIDS
from birdbone.algo.grouping import GROUPINGS
from birdbone.errors import ConfigError
from birdbone.mixture.model import check_family, expert_shape
from birdbone.mixture.split import Split, evened, split_layers
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.folder import fits
from birdbone.model.observing.activations import Activations, Clusters
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.moe.settings import SplitSettings
from birdbone.text.texts import Texts


@dataclass(frozen=True)
class Seen(Together):
    """What the seed's nodes do, and which of them respond alike."""

    activations: Activations
    clusters: Clusters


def split_model(
    source: Checkpoint,
    seen: Seen,
    texts: Texts,
    settings: SplitSettings,
    kind: str,
    compute: Compute,
) -> Split:
    """Order of the nodes and routers of every layer, for each grouping; see ``split_layers``.

    kind: the GGUF file's tensor type, whose blocks an expert's width has to fill.

    Raises UnsupportedArchitectureError for a family that glm4_moe does not hold, ConfigError for
    experts that do not fit the layers.
    """
    check_family(source)
    lost = [
        n
        for n, w in source.weights.items()
        if w.ndim > 1 and kind == "F16" and not fits(w, torch.float16)
    ]
    if lost:
        raise ConfigError(
            f"parameter moe.type: F16 cannot hold the values of {lost[0]}: set Q8_0 or F32"
        )
    even, profiles, labels = evened(
        source,
        dict(enumerate(seen.activations.profiles("ffn"))),
        dict(enumerate(seen.clusters.layers)),
    )
    multiple = GRIDS[kind].unit if kind in GRIDS else 1
    for name in (f"{module}.weight" for module in source.layout.blocks[0].linears[:-1]):
        if (columns := source.weights[name].shape[1]) % multiple:
            raise ConfigError(
                f"parameter moe.type: {kind} needs rows of multiples of {multiple}, {name} has "
                f"{columns}"
            )
    shape = expert_shape(even.count("ffn", 0), settings.experts, settings.shared_share, multiple)
    windows = texts.calibration
    windows = windows[: max(1, settings.tokens // windows.shape[1])]
    cuts = split_layers(
        even,
        profiles,
        labels,
        windows,
        shape,
        GROUPINGS,
        settings.damping,
        compute.random_seed,
        compute.place,
    )
    return Split(cuts, shape.experts, shape.width, shape.shared, settings.active, settings.grouping)
