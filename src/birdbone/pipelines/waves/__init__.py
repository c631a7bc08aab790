"""The waves stage."""

from birdbone.pipelines.waves.pipeline import create_pipeline

__all__ = ["create_pipeline"]
