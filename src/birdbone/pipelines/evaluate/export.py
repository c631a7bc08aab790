"""Benchmark tasks on the export's own weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.rounding.rounder import dequantized
from birdbone.pipelines.evaluate.tasks import evaluate_tasks


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
    return evaluate_tasks("export", state, tokenizer_folder, settings, device, random_seed)
