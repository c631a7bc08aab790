"""The report stage."""

from birdbone.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
