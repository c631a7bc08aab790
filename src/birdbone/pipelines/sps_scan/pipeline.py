"""Stage 3 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import SEED, WORKPLACE
from birdbone.pipelines.sps_scan.nodes import scan_seed


def create_pipeline(parameters: Parameters) -> Pipeline:
    """sps_scan: scan."""
    return Pipeline(
        [
            Node(
                gathered(scan_seed),
                [
                    *SEED,
                    "texts",
                    "params:sps_scan",
                    *WORKPLACE,
                ],
                ["sps_scan", "node_scores"],
                name="scan",
            ),
        ],
        namespace="sps_scan",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )
