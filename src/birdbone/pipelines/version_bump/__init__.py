"""The version_bump stage."""

from birdbone.pipelines.version_bump.pipeline import create_pipeline

__all__ = ["create_pipeline"]
