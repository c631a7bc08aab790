"""Stage 9, first half, as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE
from birdbone.pipelines.quantize.nodes import quantize
from birdbone.pipelines.quantize.trace import trace_rounding
from birdbone.pipelines.yardstick import YARDSTICK


def create_pipeline(parameters: Parameters) -> Pipeline:
    """quantize: round, trace."""
    return Pipeline(
        [
            Node(
                gathered(quantize),
                [
                    f"wave_{parameters.waves}.accepted",
                    f"wave_{parameters.waves}.verdict",
                    "node_scores",
                    "second_moments",
                    *YARDSTICK,
                    "seed_tasks",
                    "control_metrics",
                    "params:max_loss",
                    "params:target_bytes",
                    "params:quantize",
                    *COMPUTE,
                ],
                ["quantized", "quantize_report", "quantize_trials"],
                name="round",
            ),
            Node(
                gathered(trace_rounding),
                [
                    f"wave_{parameters.waves}.accepted",
                    "quantized",
                    *YARDSTICK,
                    "params:guard.trace_tokens",
                    *COMPUTE,
                ],
                "rounding_trace",
                name="trace",
            ),
        ],
        namespace="quantize",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
