"""Stage 9, first half, as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.quantize.nodes import quantize


def create_pipeline(parameters: Parameters) -> Pipeline:
    """quantize: round the last accepted model."""
    return Pipeline(
        [
            Node(
                quantize,
                [
                    f"wave_{parameters.waves}.accepted",
                    "seed_model",
                    "seed_states",
                    "texts",
                    "node_scores",
                    "second_moments",
                    "tokenizer",
                    "seed_tasks",
                    "control_metrics",
                    f"wave_{parameters.waves}.verdict",
                    "params:quantize",
                    "params:max_loss",
                    "params:target_bytes",
                    "params:device",
                    "params:random_seed",
                ],
                ["quantized", "quantize_report"],
                name="round",
            ),
        ],
        namespace="quantize",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
