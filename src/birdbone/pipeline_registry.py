"""Every registered pipeline: the stages' own, found by their folders, and the parts of the whole
job.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kedro.pipeline import Pipeline

from birdbone.pipelines import stages
from birdbone.run.config import parameters

if TYPE_CHECKING:
    from birdbone.parameters import Parameters
    from birdbone.run.cost import Work
    from birdbone.sources.shape import ModelShape

SLICES = ("prune_wave", "micro_heal", "regrow", "guard")
"""Tags whose nodes are a pipeline too, over all waves."""


def register_pipelines() -> dict[str, Pipeline]:
    """Each stage by its folder's name, each wave, slices over all waves, and the whole job.

    Adding a stage's folder registers it; see ``birdbone.pipelines``.
    """
    settings = parameters()
    registered = {
        stage: import_module(f"birdbone.pipelines.{stage}.pipeline").create_pipeline(settings)
        for stage in stages()
    }
    whole = sum((registered[stage] for stage in stages() if belongs_to_whole(stage)), Pipeline([]))
    waves = [f"wave_{number}" for number in range(1, settings.waves + 1)]
    return {
        **registered,
        **{tag: whole.only_nodes_with_tags(tag) for tag in (*waves, *SLICES)},
        "growth_prune_heal": whole,
        "__default__": whole,
    }


def belongs_to_whole(stage: str) -> bool:
    """Whether a stage is part of the whole job."""
    return import_module(f"birdbone.pipelines.{stage}").WHOLE


def node_works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """The cost model's row for each node of every stage that has a ``cost.py`` in its folder."""
    works: dict[str, Work] = {}
    for stage in stages():
        module = f"birdbone.pipelines.{stage}.cost"
        if find_spec(module):
            works |= import_module(module).works(parameters, shape)
    return works
