"""Benchmark tasks on any other model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from birdbone.pipelines.evaluate.settings import EvaluateSettings
from birdbone.pipelines.evaluate.tasks import evaluate_tasks
from birdbone.sources.load import load
from birdbone.sources.locate import locate


def evaluate_others(
    settings: EvaluateSettings, models: dict, device: str, random_seed: int
) -> dict:
    """Model -> task -> metric -> value of every model (preset, id, path) in ``evaluate.models``."""
    figures = {}
    for model in settings.models:
        checkpoint, write_tokenizer = load(locate(model, models), random_seed, list)
        with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
            write_tokenizer(Path(folder))
            figures[model] = evaluate_tasks(
                model, checkpoint, Path(folder), settings, device, random_seed
            )
    return figures
