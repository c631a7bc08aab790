"""Stage 4 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.topology.nodes import cluster


def create_pipeline(parameters: Parameters) -> Pipeline:
    """topology: cluster."""
    return Pipeline(
        [
            Node(
                cluster,
                [
                    "activations",
                    "params:topology",
                    "params:prune_wave.clusters",
                    "params:random_seed",
                ],
                ["clusters", "topology_report", "mapper_graph"],
                name="cluster",
            ),
        ],
        namespace="topology",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )
