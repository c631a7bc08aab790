"""Every registered pipeline. The number of waves comes from the parameters in force."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from birdbone.pipelines import (
    activation_log,
    control,
    domains,
    evaluate,
    experts,
    export,
    moe,
    quantize,
    report,
    seed,
    sps_scan,
    topology,
    version_bump,
    waves,
)
from birdbone.pipelines.waves.pipeline import create_wave
from birdbone.run.config import parameters

SLICES = ("prune_wave", "micro_heal", "regrow", "guard")


def register_pipelines() -> dict[str, Pipeline]:
    """Linear stages, one pipeline per wave, slices over all waves, and the whole job."""
    found = parameters()
    count = found.waves
    linear = {
        "seed": seed,
        "activation_log": activation_log,
        "sps_scan": sps_scan,
        "topology": topology,
        "control": control,
        "waves": waves,
        "quantize": quantize,
        "export": export,
        "report": report,
        "version_bump": version_bump,
    }
    stages = {name: stage.create_pipeline(waves=count) for name, stage in linear.items()}
    whole = sum(stages.values(), Pipeline([]))
    return {
        **{name: p for name, p in stages.items() if name != "waves"},
        **{f"wave_{i}": create_wave(i) for i in range(1, count + 1)},
        "domains": domains.create_pipeline(),
        "experts": experts.create_pipeline(),
        "evaluate": evaluate.create_pipeline(waves=count),
        "moe": moe.create_pipeline(waves=count, source=found.moe.source),
        **{name: whole.only_nodes_with_tags(name) for name in SLICES},
        "growth_prune_heal": whole,
        "__default__": whole,
    }
