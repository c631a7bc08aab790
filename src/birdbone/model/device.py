"""Where and in which precision to compute, and the tokenizer of a folder."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from transformers import AutoTokenizer

from birdbone.errors import ConfigError

BFLOAT16_UNITS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
"""torch.cpu's questions for units that multiply bfloat16: Intel's since 2020, AMD's since 2022."""


def resolve_device(device: str) -> str:
    """``auto`` to cuda where there is one, else cpu. Raises ConfigError for a device that is not
    there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"parameter device: {device} was asked for, but this torch sees no CUDA device")
    return device


def compute_dtype(compute: str, device: str) -> torch.dtype:
    """``auto``: bfloat16 where the hardware multiplies it natively, else float32."""
    if compute != "auto":
        return getattr(torch, compute)
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    native = any(getattr(torch.cpu, name, bool)() for name in BFLOAT16_UNITS)
    return torch.bfloat16 if native else torch.float32


def return_memory() -> None:
    """Give what lies free between this process's tensors back to the system, where its C library
    can (glibc).
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def read_tokenizer(folder: Path):
    """The tokenizer saved in a folder; nothing is looked up elsewhere."""
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
