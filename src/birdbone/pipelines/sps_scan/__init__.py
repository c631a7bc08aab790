"""The sps_scan stage."""

from birdbone.pipelines.sps_scan.pipeline import create_pipeline

__all__ = ["create_pipeline"]
