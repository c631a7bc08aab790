"""Stage 1 as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE
from birdbone.pipelines.seed.baseline import measure_baseline
from birdbone.pipelines.seed.load import load_seed
from birdbone.pipelines.seed.tasks import measure_tasks
from birdbone.pipelines.seed.text import read_text
from birdbone.pipelines.seed.trim import trim_vocabulary
from birdbone.pipelines.seed.untrimmed import read_untrimmed
from birdbone.pipelines.seed.write import write_text

WAVE_0 = ("wave_0.model", "wave_0.accepted", "wave_0.verdict")


def create_pipeline(parameters: Parameters) -> Pipeline:
    """seed: load, text, write, baseline, tasks; trim and untrimmed where tokens go."""
    trims = parameters.vocabulary.trims
    loaded = ["source_model", "source_tokenizer", "source_about"]
    whole = ["seed_model", "tokenizer", "seed_about"]
    read = ["readings", "vocabulary_report"] if trims else []
    return Pipeline(
        [
            *(_trimming() if trims else []),
            Node(
                load_seed,
                ["params:model", "params:models", "params:text.source", "params:random_seed"],
                loaded if trims else whole,
                name="load",
            ),
            Node(
                read_text,
                ["tokenizer", "params:text", "params:specialise", "params:random_seed"],
                "texts_read",
                name="text",
            ),
            Node(
                write_text,
                [
                    "seed_model",
                    "tokenizer",
                    "texts_read",
                    "params:text",
                    "params:device",
                    "params:random_seed",
                ],
                "texts",
                name="write",
            ),
            Node(
                measure_baseline,
                [
                    "seed_model",
                    "tokenizer",
                    "texts",
                    "params:text.canaries",
                    "params:device",
                    *read,
                ],
                ["seed_metrics", "seed_states", *WAVE_0],
                name="baseline",
            ),
            Node(
                measure_tasks,
                [
                    "seed_model",
                    "tokenizer",
                    "params:guard.tasks",
                    "params:evaluate",
                    "params:device",
                    "params:random_seed",
                ],
                "seed_tasks",
                name="tasks",
            ),
        ],
        namespace="seed",
        prefix_datasets_with_namespace=False,
        tags=["look"],
    )


def _trimming() -> list[Node]:
    return [
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
            gathered(read_untrimmed),
            [
                "source_model",
                "source_tokenizer",
                "tokenizer",
                "texts",
                "params:guard.trace_tokens",
                *COMPUTE,
            ],
            ["readings", "vocabulary_report"],
            name="untrimmed",
        ),
    ]
