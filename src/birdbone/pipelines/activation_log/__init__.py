"""The activation_log stage."""

from birdbone.pipelines.activation_log.pipeline import create_pipeline

__all__ = ["create_pipeline"]
