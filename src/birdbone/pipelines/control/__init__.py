"""The control stage."""

from birdbone.pipelines.control.pipeline import create_pipeline

__all__ = ["create_pipeline"]
