"""Labelled scans as a table."""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.domains.scan import scan_domains
from birdbone.pipelines.domains.texts import read_texts


def create_pipeline(parameters: Parameters) -> Pipeline:
    """domains: texts, scan; not part of the main job."""
    return Pipeline(
        [
            Node(
                read_texts,
                [
                    "seed_model",
                    "tokenizer",
                    "params:domains",
                    "params:device",
                    "params:random_seed",
                ],
                "domain_texts",
                name="texts",
            ),
            Node(
                scan_domains,
                [
                    "seed_model",
                    "seed_about",
                    "domain_texts",
                    "tokenizer",
                    "params:domains",
                    "params:sps_scan",
                    "params:device",
                    "params:random_seed",
                    "scratch",
                ],
                ["domain_scan", "domain_profile"],
                name="scan",
            ),
        ],
        namespace="domains",
        prefix_datasets_with_namespace=False,
    )
