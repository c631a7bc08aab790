"""Benchmark tasks on the seed."""

from __future__ import annotations

from pathlib import Path

from birdbone.model.checkpoint import Checkpoint
from birdbone.pipelines.evaluate.settings import EvaluateSettings
from birdbone.pipelines.evaluate.tasks import evaluate_tasks


def evaluate_seed(
    seed: Checkpoint,
    tokenizer_folder: Path,
    settings: EvaluateSettings,
    device: str,
    random_seed: int,
) -> dict:
    """Task -> metric -> value of the untouched model."""
    return evaluate_tasks("seed", seed, tokenizer_folder, settings, device, random_seed)
