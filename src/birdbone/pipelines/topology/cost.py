"""What the node of stage 4 costs, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.pipelines.topology.settings import TopologySettings
from birdbone.run.cost import Work
from birdbone.sources.shape import ModelShape

LAYER = 0.22
"""Seconds of one clustering of a layer at ``LANDMARKS``; they grow with these."""
LANDMARKS = 2000


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for the node."""
    return {"topology.cluster": Work(seconds=1 + shape.layers * layer_seconds(parameters.topology))}


def layer_seconds(settings: TopologySettings) -> float:
    """Seconds of a layer's clustering and its resamplings."""
    clusterings = 1 + settings.stability_resamples
    return LAYER * clusterings * settings.landmarks / LANDMARKS
