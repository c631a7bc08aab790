"""The seed stage."""

from birdbone.pipelines.seed.pipeline import create_pipeline

__all__ = ["create_pipeline"]
