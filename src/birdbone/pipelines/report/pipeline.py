"""The report as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.report.files import measure_files
from birdbone.pipelines.report.final import measure_final
from birdbone.pipelines.report.page import make_page


def create_pipeline(parameters: Parameters) -> Pipeline:
    """report: files, final, page."""
    model = f"wave_{parameters.waves}.accepted"
    page = [
        "seed_about",
        "seed_metrics",
        "control_metrics",
        "quantize_report",
        "files",
        "files_speed",
        "final_metrics",
        "topology_report",
        "node_scores",
        model,
        "parameters",
        "command",
        *(f"wave_{i}.report" for i in range(1, parameters.waves + 1)),
    ]
    return Pipeline(
        [
            Node(
                measure_files,
                [
                    "seed_model",
                    model,
                    "seed_about",
                    "tokenizer",
                    "export_gguf",
                    "texts",
                    "params:report",
                    "params:export",
                    "params:models",
                    "params:model",
                    "params:threads",
                ],
                ["files", "files_speed"],
                name="files",
            ),
            Node(
                measure_final,
                [
                    "seed_model",
                    model,
                    "quantized",
                    "seed_states",
                    "tokenizer",
                    "texts",
                    "control_metrics",
                    "params:text.canaries",
                    "params:report",
                    "params:max_loss",
                    "params:device",
                    "params:random_seed",
                ],
                "final_metrics",
                name="final",
            ),
            Node(
                make_page, page, ["report_page", "model_card", "summary", "headline"], name="page"
            ),
        ],
        namespace="report",
        prefix_datasets_with_namespace=False,
        tags=["ship"],
    )
