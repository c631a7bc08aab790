"""What rounding did, with llama.cpp's own rounding to the same types beside it."""

from __future__ import annotations

from birdbone.algo.grids import GRIDS
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.trace import Tracer
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import dequantized, rounded_nearest
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.yardstick import Yardstick

NEAREST = "llama.cpp's own rounding, same types"


def trace_rounding(
    accepted: Checkpoint,
    quantized: Quantized,
    yardstick: Yardstick,
    tokens: int,
    compute: Compute,
) -> dict:
    """The row of rounding. Its size is the file's, which the report knows."""
    tracer = Tracer(
        yardstick.guard, yardstick.texts.guard, tokens, compute.place, compute.random_seed
    )
    state = dequantized(accepted, quantized.packed, quantized.types)
    masks = accepted.masks.weights
    nearest = {
        name: rounded_nearest(accepted.weights[name], GRIDS[kind], masks.get(name)).weight
        for name, kind in quantized.types.items()
        if kind in GRIDS
    }
    plain = dequantized(accepted, {}, quantized.types).evolve(nearest)
    return tracer.step("rounding", state, "quantize", (NEAREST, plain))
