"""Stage 10 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.pipelines.version_bump.nodes import make_bundle


def create_pipeline(waves: int = 2, **_) -> Pipeline:
    """version_bump: bundle."""
    return Pipeline(
        [
            Node(
                make_bundle,
                [
                    "seed_model",
                    f"wave_{waves}.accepted",
                    "seed_metrics",
                    "quantize_report",
                    "final_metrics",
                    "parameters",
                ],
                "bundle",
                name="bundle",
            ),
        ],
        namespace="version_bump",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
