"""The mixture of experts."""

from birdbone.pipelines.moe.pipeline import create_pipeline

__all__ = ["create_pipeline"]
