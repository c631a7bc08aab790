"""Where to compute, and the tokenizer of a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer

from birdbone.errors import ConfigError


def resolve_device(device: str) -> str:
    """``auto`` to cuda where there is one, else cpu. Raises ConfigError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"parameter device: {device} was asked for, but this torch sees no CUDA device")
    return device


def read_tokenizer(folder: Path):
    """The tokenizer saved in a folder; nothing is looked up elsewhere."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
