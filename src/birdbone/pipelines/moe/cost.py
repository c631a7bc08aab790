"""What the nodes of the mixture cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.pipelines.export.cost import LLAMACPP_START, WEIGHTS_A_SECOND, speed_tokens
from birdbone.run.cost import HEAL, JUDGE, MOMENTS, Work
from birdbone.sources.shape import ModelShape

GROUPINGS = 3
"""Topology, k-means and random, each split and compared."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node."""
    moe = parameters.moe
    written = shape.parameters / WEIGHTS_A_SECOND
    shares = len(moe.compare.shares)
    judged = GROUPINGS * shares * len(parameters.text.guard_domains) * moe.compare.guard_tokens
    return {
        "moe.split": Work(tokens=GROUPINGS * MOMENTS * moe.split.tokens, seconds=2),
        "moe.heal": Work(
            tokens=HEAL * moe.heal.steps * moe.heal.batch * parameters.text.window, seconds=2
        ),
        "moe.folder": Work(seconds=1 + written),
        "moe.gguf": Work(seconds=1 + written),
        "moe.compare": Work(
            tokens=JUDGE * judged,
            host_tokens=(1 + shares) * speed_tokens(moe.compare.speed_tokens),
            seconds=(2 + shares) * LLAMACPP_START,
        ),
        "moe.page": Work(seconds=2),
    }
