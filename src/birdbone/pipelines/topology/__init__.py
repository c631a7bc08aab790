"""The topology stage."""

from birdbone.pipelines.topology.pipeline import create_pipeline

__all__ = ["create_pipeline"]
