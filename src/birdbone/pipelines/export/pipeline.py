"""Stage 9, second half, as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.export.folder import export_folder
from birdbone.pipelines.export.form import export_form
from birdbone.pipelines.export.gguf import export_gguf
from birdbone.pipelines.export.referee import referee
from birdbone.pipelines.gathered import gathered


def create_pipeline(parameters: Parameters) -> Pipeline:
    """export: form, gguf, referee, folder.

    form tells early whether llama.cpp can hold the model. folder waits for the report's model card
    and so is in no box of the DAG.
    """
    model = f"wave_{parameters.waves}.accepted"
    files = Pipeline(
        [
            Node(
                export_form,
                ["seed_model", "tokenizer", "params:export.dtype", "params:report.prompts"],
                "gguf_form",
                name="form",
            ),
            Node(
                export_gguf,
                [model, "quantized", "tokenizer", "seed_about", "params:specialise"],
                "export_gguf",
                name="gguf",
            ),
            Node(
                gathered(referee),
                [
                    "export_gguf",
                    model,
                    "quantized",
                    "tokenizer",
                    "texts",
                    "params:export",
                    "params:threads",
                ],
                ["referee", "speed"],
                name="referee",
            ),
        ],
        namespace="export",
        prefix_datasets_with_namespace=False,
    )
    folder = Node(
        export_folder,
        [model, "tokenizer", "model_card", "params:export"],
        "export_folder",
        name="export.folder",
    )
    return Pipeline([files, folder], tags=["ship"])
