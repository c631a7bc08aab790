"""Stage 3 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.sps_scan.nodes import scan_seed


def create_pipeline(parameters: Parameters) -> Pipeline:
    """sps_scan: scan."""
    return Pipeline(
        [
            Node(
                scan_seed,
                [
                    "seed_model",
                    "seed_about",
                    "texts",
                    "tokenizer",
                    "params:sps_scan",
                    "params:device",
                    "params:random_seed",
                    "scratch",
                ],
                ["sps_scan", "node_scores"],
                name="scan",
            ),
        ],
        namespace="sps_scan",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )
