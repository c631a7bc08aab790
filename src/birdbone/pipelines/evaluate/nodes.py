"""Benchmark tasks on the seed, on the export's own weights, and on any other model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from birdbone.model import sources
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.harness import run_tasks
from birdbone.model.network import build
from birdbone.model.rounding import dequantized
from birdbone.text.benchmarks import local_task


def evaluate_seed(seed: Checkpoint, tokenizer_folder: Path, settings: dict, device: str, random_seed: int) -> dict:
    """Task -> metric -> value of the untouched model."""
    return _measured(seed, tokenizer_folder, settings, device, random_seed)


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
    return _measured(state, tokenizer_folder, settings, device, random_seed)


def evaluate_others(settings: dict, models: dict, device: str, random_seed: int) -> dict:
    """Model -> task -> metric -> value, of the presets, hub ids, folders and GGUF files in ``evaluate.models``."""
    found = {}
    for model in settings["models"]:
        checkpoint, write_tokenizer = sources.load(sources.locate(model, models), random_seed, list)
        with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
            write_tokenizer(Path(folder))
            found[model] = _measured(checkpoint, Path(folder), settings, device, random_seed)
    return found


def _measured(checkpoint: Checkpoint, tokenizer_folder: Path, settings: dict, device: str, random_seed: int) -> dict:
    tasks = [*settings["tasks"], *(local_task(name, about) for name, about in settings["files"].items())]
    if not tasks:
        return {}
    network, tokenizer = build(checkpoint, resolve_device(device)), read_tokenizer(tokenizer_folder)
    return run_tasks(network, tokenizer, tasks, settings["few_shot"], settings["limit"], settings["batch"], random_seed)
