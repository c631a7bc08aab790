"""Benchmark tasks as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.evaluate.export import evaluate_export
from birdbone.pipelines.evaluate.others import evaluate_others
from birdbone.pipelines.evaluate.seed import evaluate_seed

SETTINGS = ["params:evaluate", "params:device", "params:random_seed"]


def create_pipeline(parameters: Parameters) -> Pipeline:
    """evaluate: seed, export, others; not part of the main job."""
    return Pipeline(
        [
            Node(
                evaluate_seed,
                ["seed_model", "tokenizer", *SETTINGS],
                "evaluation_seed",
                name="seed",
            ),
            Node(
                evaluate_export,
                [f"wave_{parameters.waves}.accepted", "quantized", "tokenizer", *SETTINGS],
                "evaluation_export",
                name="export",
            ),
            Node(
                evaluate_others,
                ["params:evaluate", "params:models", "params:device", "params:random_seed"],
                "evaluation_others",
                name="others",
            ),
        ],
        namespace="evaluate",
        prefix_datasets_with_namespace=False,
    )
