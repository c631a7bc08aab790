"""Stage 10 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.version_bump.nodes import preview


def create_pipeline(parameters: Parameters) -> Pipeline:
    """version_bump: bundle."""
    bundle = [
        "seed_model",
        f"wave_{parameters.waves}.accepted",
        "seed_metrics",
        "quantize_report",
        "final_metrics",
        "vocabulary" if parameters.vocabulary.trims else "params:vocabulary.keep",
        "parameters",
        *(f"wave_{i}.report" for i in range(1, parameters.waves + 1)),
    ]
    return Pipeline(
        [Node(preview, bundle, "bundle", name="bundle")],
        namespace="version_bump",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
