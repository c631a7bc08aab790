"""The report as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE
from birdbone.pipelines.report.files import measure_files
from birdbone.pipelines.report.final import measure_final
from birdbone.pipelines.report.page import make_page
from birdbone.pipelines.yardstick import YARDSTICK


def create_pipeline(parameters: Parameters) -> Pipeline:
    """report: files, final, page."""
    model = f"wave_{parameters.waves}.accepted"
    trims = parameters.vocabulary.trims
    source = ["source_model", "source_tokenizer"] if trims else ["seed_model", "tokenizer"]
    page = [
        *("seed_about", "seed_metrics", "topology_report", "node_scores"),
        *("control_metrics", "quantize_report", "rounding_trace"),
        *("files", "files_speed", "final_metrics", model),
        *("parameters", "command"),
        *(f"wave_{i}.report" for i in range(1, parameters.waves + 1)),
    ]
    return Pipeline(
        [
            Node(
                gathered(measure_files),
                [
                    "seed_model",
                    *source,
                    "seed_about",
                    "params:model",
                    "params:models",
                    model,
                    "export_gguf",
                    "tokenizer",
                    "texts",
                    "params:report",
                    "params:export",
                    "params:threads",
                ],
                ["files", "files_speed"],
                name="files",
            ),
            Node(
                gathered(measure_final),
                [
                    model,
                    "quantized",
                    *YARDSTICK,
                    "control_metrics",
                    "params:text.canaries",
                    "params:report",
                    "params:max_loss",
                    *COMPUTE,
                ],
                "final_metrics",
                name="final",
            ),
            Node(
                gathered(make_page),
                page,
                ["report_page", "model_card", "summary", "headline"],
                name="page",
            ),
        ],
        namespace="report",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
