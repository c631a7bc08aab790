"""The benchmark tasks that the settings name."""

from __future__ import annotations

from pathlib import Path

from birdbone.errors import ConfigError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.harness import evaluate
from birdbone.pipelines.evaluate.settings import EvaluateSettings


def evaluate_tasks(
    name: str,
    checkpoint: Checkpoint,
    tokenizer_folder: Path,
    settings: EvaluateSettings,
    device: str,
    random_seed: int,
) -> dict:
    """Task -> metric -> value. Raises ConfigError where no task is named."""
    tasks = [*settings.tasks, *settings.files]
    if not tasks:
        raise ConfigError(
            "parameters evaluate.tasks and evaluate.files are both empty: name a task or give a "
            "file"
        )
    return evaluate(
        name, checkpoint, tokenizer_folder, tasks, settings.options, device, random_seed
    )
