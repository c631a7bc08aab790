"""The control as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.control.nodes import measure_control


def create_pipeline(parameters: Parameters) -> Pipeline:
    """guard.control: one node, computed once."""
    return Pipeline(
        [
            Node(
                measure_control,
                [
                    "seed_model",
                    "seed_states",
                    "tokenizer",
                    "texts",
                    "params:text.canaries",
                    "params:guard.control",
                    "params:micro_heal",
                    "params:waves",
                    "params:device",
                    "params:random_seed",
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
