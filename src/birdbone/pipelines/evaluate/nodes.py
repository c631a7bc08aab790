"""Benchmark tasks on the seed, on the export's own weights, and on any other model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from birdbone.errors import ConfigError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.harness import evaluate
from birdbone.model.rounding.rounder import dequantized
from birdbone.sources import load as sources


def evaluate_seed(seed: Checkpoint, tokenizer_folder: Path, settings: dict, device: str, random_seed: int) -> dict:
    """Task -> metric -> value of the untouched model."""
    return _measured("seed", seed, tokenizer_folder, settings, device, random_seed)


def evaluate_export(
    accepted: Checkpoint,
    quantized: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    settings: dict,
    device: str,
    random_seed: int,
) -> dict:
    """The same of the weights that the exported GGUF stands for."""
    state = dequantized(accepted, quantized[0], quantized[1]["types"])
    return _measured("export", state, tokenizer_folder, settings, device, random_seed)


def evaluate_others(settings: dict, models: dict, device: str, random_seed: int) -> dict:
    """Model -> task -> metric -> value, of the presets, hub ids, folders and GGUF files in ``evaluate.models``."""
    found = {}
    for model in settings["models"]:
        checkpoint, write_tokenizer = sources.load(sources.locate(model, models), random_seed, list)
        with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
            write_tokenizer(Path(folder))
            found[model] = _measured(model, checkpoint, Path(folder), settings, device, random_seed)
    return found


def _measured(
    name: str, checkpoint: Checkpoint, tokenizer_folder: Path, settings: dict, device: str, random_seed: int
) -> dict:
    tasks = [*settings["tasks"], *settings["files"]]
    if not tasks:
        raise ConfigError("parameters evaluate.tasks and evaluate.files are both empty: name a task or give a file")
    return evaluate(name, checkpoint, tokenizer_folder, tasks, settings, device, random_seed)
