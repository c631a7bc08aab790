"""What the nodes of the experts cost, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.pipelines.topology.cost import layer_seconds
from birdbone.run.cost import Work
from birdbone.sources.shape import ModelShape

PARTIAL = 0.5
"""Forward passes of a token from an expert's first layer on: half of the layers, on average."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for each node."""
    experts = parameters.experts
    passes = 1 + PARTIAL * experts.ablated * (1 + experts.random_sets)
    return {
        "experts.find": Work(seconds=4 + 2 * shape.layers * layer_seconds(parameters.topology)),
        "experts.ablate": Work(
            tokens=passes * len(parameters.domains.sets) * experts.ablation_tokens
        ),
        "experts.page": Work(seconds=3),
    }
