"""The evaluate stage."""

from birdbone.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
