"""The mixture of experts as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE, LESSON, WORKPLACE
from birdbone.pipelines.moe.compare import compare_mixture
from birdbone.pipelines.moe.folder import export_mixture_folder
from birdbone.pipelines.moe.gguf import export_mixture_gguf
from birdbone.pipelines.moe.heal import heal_routers
from birdbone.pipelines.moe.page import make_mixture_page
from birdbone.pipelines.moe.split import split_model
from birdbone.pipelines.yardstick import YARDSTICK


def create_pipeline(parameters: Parameters) -> Pipeline:
    """moe: split, heal, folder, gguf, compare, page; not part of the main job."""
    model = "seed_model" if parameters.moe.source == "seed" else f"wave_{parameters.waves}.accepted"
    mixture = [model, "moe_split", "moe_healed"]
    return Pipeline(
        [
            Node(
                gathered(split_model),
                [
                    model,
                    "activations",
                    "clusters",
                    "texts",
                    "params:moe.split",
                    "params:moe.type",
                    *COMPUTE,
                ],
                "moe_split",
                name="split",
            ),
            Node(
                gathered(heal_routers),
                [
                    model,
                    "moe_split",
                    *LESSON,
                    "params:moe.heal",
                    *WORKPLACE,
                ],
                ["moe_healed", "moe_curve"],
                name="heal",
            ),
            Node(
                gathered(export_mixture_folder),
                [*mixture, "tokenizer", "seed_about", "command"],
                "moe_folder",
                name="folder",
            ),
            Node(
                gathered(export_mixture_gguf),
                [*mixture, "tokenizer", "seed_about", "params:moe.type"],
                "moe_gguf",
                name="gguf",
            ),
            Node(
                gathered(compare_mixture),
                [
                    *mixture,
                    "moe_folder",
                    "moe_gguf",
                    "params:moe.type",
                    *YARDSTICK,
                    "params:moe.compare",
                    *COMPUTE,
                    "params:threads",
                ],
                ["moe_report", "moe_speed"],
                name="compare",
            ),
            Node(
                make_mixture_page,
                ["moe_report", "moe_speed", "seed_about", "command"],
                ["moe_page", "moe_summary"],
                name="page",
            ),
        ],
        namespace="moe",
        prefix_datasets_with_namespace=False,
    )
