"""Stage 2 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.activation_log.nodes import observe
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import WORKPLACE


def create_pipeline(parameters: Parameters) -> Pipeline:
    """activation_log: observe."""
    return Pipeline(
        [
            Node(
                gathered(observe),
                [
                    "seed_model",
                    "texts",
                    "node_scores",
                    "params:activation_log",
                    *WORKPLACE,
                ],
                ["activations", "second_moments"],
                name="observe",
            ),
        ],
        namespace="activation_log",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )
