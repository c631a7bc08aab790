"""Benchmark tasks on the export's own weights."""

from __future__ import annotations

from pathlib import Path

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import dequantized
from birdbone.pipelines.evaluate.settings import EvaluateSettings
from birdbone.pipelines.evaluate.tasks import evaluate_tasks


def evaluate_export(
    accepted: Checkpoint,
    quantized: Quantized,
    tokenizer_folder: Path,
    settings: EvaluateSettings,
    device: str,
    random_seed: int,
) -> dict:
    """Task -> metric -> value of the weights that the exported GGUF holds."""
    state = dequantized(accepted, quantized.packed, quantized.types)
    return evaluate_tasks("export", state, tokenizer_folder, settings, device, random_seed)
