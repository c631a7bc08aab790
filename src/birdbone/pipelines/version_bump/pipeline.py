"""Stage 10 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.version_bump.nodes import preview

PER_WAVE = ("verdict", "prune_report", "heal_report", "regrow_report")


def create_pipeline(parameters: Parameters) -> Pipeline:
    """version_bump: bundle."""
    bundle = {
        "seed": "seed_model",
        "accepted": f"wave_{parameters.waves}.accepted",
        "seed_metrics": "seed_metrics",
        "quantize_report": "quantize_report",
        "final": "final_metrics",
        "parameters": "parameters",
        **{f"wave_{i}_{name}": f"wave_{i}.{name}" for i in range(1, parameters.waves + 1) for name in PER_WAVE},
    }
    return Pipeline(
        [Node(preview, bundle, "bundle", name="bundle")],
        namespace="version_bump",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
