"""Stage 2 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.activation_log.nodes import observe


def create_pipeline(parameters: Parameters) -> Pipeline:
    """activation_log: observe."""
    return Pipeline(
        [
            Node(
                observe,
                [
                    "seed_model",
                    "texts",
                    "node_scores",
                    "params:activation_log",
                    "params:device",
                    "params:random_seed",
                    "scratch",
                ],
                ["activations", "second_moments"],
                name="observe",
            ),
        ],
        namespace="activation_log",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )
