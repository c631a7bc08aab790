"""The control as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.control.nodes import measure_control
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE
from birdbone.pipelines.yardstick import YARDSTICK


def create_pipeline(parameters: Parameters) -> Pipeline:
    """control.heal_seed: one node, computed once."""
    return Pipeline(
        [
            Node(
                gathered(measure_control),
                [
                    *YARDSTICK,
                    "params:guard.control",
                    "params:micro_heal",
                    "params:waves",
                    "params:text.canaries",
                    *COMPUTE,
                    "scratch",
                ],
                "control_metrics",
                name="heal_seed",
            ),
        ],
        namespace="control",
        prefix_datasets_with_namespace=False,
        tags=["guard"],
    )
