"""The vocabulary as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE
from birdbone.pipelines.vocabulary.read import read_whole
from birdbone.pipelines.vocabulary.trim import trim_vocabulary


def create_pipeline(parameters: Parameters) -> Pipeline:
    """vocabulary: trim, read; nothing where every token stays."""
    if not parameters.vocabulary.trims:
        return Pipeline([])
    return Pipeline(
        [
            Node(
                gathered(trim_vocabulary),
                [
                    "source_model",
                    "source_tokenizer",
                    "source_about",
                    "params:vocabulary",
                    "params:text",
                    "params:random_seed",
                ],
                ["seed_model", "tokenizer", "seed_about", "vocabulary"],
                name="trim",
            ),
            Node(
                gathered(read_whole),
                ["source_model", "source_tokenizer", "tokenizer", "texts", *COMPUTE],
                ["readings", "vocabulary_report"],
                name="read",
            ),
        ],
        namespace="vocabulary",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )
