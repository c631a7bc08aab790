"""Experts as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.experts.ablate import ablate_experts
from birdbone.pipelines.experts.find import find_experts
from birdbone.pipelines.experts.page import make_experts_page
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE


def create_pipeline(parameters: Parameters) -> Pipeline:
    """experts: find, ablate, page; not part of the main job. Needs the outputs of domains."""
    return Pipeline(
        [
            Node(
                find_experts,
                [
                    "domain_profile",
                    "domain_texts",
                    "tokenizer",
                    "params:topology",
                    "params:experts",
                    "params:random_seed",
                ],
                ["experts", "experts_report"],
                name="find",
            ),
            Node(
                gathered(ablate_experts),
                [
                    "seed_model",
                    "experts",
                    "experts_report",
                    "domain_texts",
                    "params:experts",
                    *COMPUTE,
                ],
                "ablation",
                name="ablate",
            ),
            Node(make_experts_page, ["experts_report", "ablation"], "experts_page", name="page"),
        ],
        namespace="experts",
        prefix_datasets_with_namespace=False,
    )
