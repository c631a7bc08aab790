"""Every registered pipeline. The number of waves comes from the parameters in force."""

from __future__ import annotations

from importlib import import_module

from kedro.pipeline import Pipeline

from birdbone.pipelines.waves.pipeline import create_wave
from birdbone.run.config import parameters

LINEAR = (
    "seed",
    "activation_log",
    "sps_scan",
    "topology",
    "control",
    "waves",
    "quantize",
    "export",
    "report",
    "version_bump",
)
SLICES = ("prune_wave", "micro_heal", "regrow", "guard")


def register_pipelines() -> dict[str, Pipeline]:
    """Linear stages, one pipeline per wave, slices over all waves, and the whole job."""
    checked = parameters()
    waves = checked.waves
    stages = {name: _stage(name, waves=waves) for name in LINEAR}
    whole = sum(stages.values(), Pipeline([]))
    return {
        **{name: stage for name, stage in stages.items() if name != "waves"},
        **{f"wave_{i}": create_wave(i) for i in range(1, waves + 1)},
        "domains": _stage("domains"),
        "experts": _stage("experts"),
        "evaluate": _stage("evaluate", waves=waves),
        "moe": _stage("moe", waves=waves, source=checked.moe.source),
        **{name: whole.only_nodes_with_tags(name) for name in SLICES},
        "growth_prune_heal": whole,
        "__default__": whole,
    }


def _stage(name: str, **choices) -> Pipeline:
    return import_module(f"birdbone.pipelines.{name}.pipeline").create_pipeline(**choices)
