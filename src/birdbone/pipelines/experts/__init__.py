"""The experts pipeline."""

from birdbone.pipelines.experts.pipeline import create_pipeline

__all__ = ["create_pipeline"]
