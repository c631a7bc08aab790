"""What the bundle of a run costs, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import Work
from birdbone.sources.shape import ModelShape

WEIGHTS_A_SECOND = 20e6
"""Compared and packed."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for the node."""
    return {"version_bump.bundle": Work(seconds=1 + shape.parameters / WEIGHTS_A_SECOND)}
