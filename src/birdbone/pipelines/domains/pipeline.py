"""Labelled scans as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.domains.scan import scan_domains
from birdbone.pipelines.domains.texts import read_texts
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE, SEED, WORKPLACE


def create_pipeline(parameters: Parameters) -> Pipeline:
    """domains: texts, scan; not part of the main job."""
    return Pipeline(
        [
            Node(
                gathered(read_texts),
                [
                    "seed_model",
                    "tokenizer",
                    "params:domains",
                    *COMPUTE,
                ],
                "domain_texts",
                name="texts",
            ),
            Node(
                gathered(scan_domains),
                [
                    *SEED,
                    "domain_texts",
                    "params:domains",
                    "params:sps_scan",
                    *WORKPLACE,
                ],
                ["domain_scan", "domain_profile"],
                name="scan",
            ),
        ],
        namespace="domains",
        prefix_datasets_with_namespace=False,
    )
