"""Whether the export's files can hold the seed, checked before anything is computed."""

from __future__ import annotations

from pathlib import Path

import torch

from birdbone.gguf.writer import check_form
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.context import positions_of
from birdbone.model.device import read_tokenizer
from birdbone.model.folder import check_range
from birdbone.model.judging.prompts import prompt_ids


def export_form(seed: Checkpoint, tokenizer_folder: Path, dtype: str, prompts: list[str]) -> dict:
    """What the GGUF file will be called and keyed by; see ``check_form``.

    It checks early what would fail in the last stages and what depends on weights and tokenizer.
    Raises ExportError for a seed that the export's files cannot hold, TextError for unusable
    prompts.
    """
    tokenizer = read_tokenizer(tokenizer_folder)
    for prompt in prompts:
        prompt_ids(tokenizer, prompt, positions_of(seed.config))
    check_range(seed, getattr(torch, dtype))
    return check_form(seed, tokenizer_folder)
