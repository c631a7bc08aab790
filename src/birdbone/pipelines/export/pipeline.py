"""Stage 9, second half, as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.pipelines.export.nodes import export_folder, export_gguf, referee


def create_pipeline(waves: int = 2, **_) -> Pipeline:
    """export: folder, gguf, referee."""
    model = f"wave_{waves}.accepted"
    return Pipeline(
        [
            Node(
                export_folder,
                [model, "tokenizer", "model_card", "params:export"],
                "export_folder",
                name="export.folder",
            ),
            Node(export_gguf, [model, "quantized", "tokenizer", "seed_about"], "export_gguf", name="export.gguf"),
            Node(
                referee,
                ["export_gguf", model, "quantized", "tokenizer", "texts", "params:export", "params:threads"],
                ["referee", "speed"],
                name="export.referee",
            ),
        ],
        tags=["ship"],
    )
