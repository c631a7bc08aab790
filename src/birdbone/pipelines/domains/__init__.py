"""The domains pipeline."""

from birdbone.pipelines.domains.pipeline import create_pipeline

__all__ = ["create_pipeline"]
