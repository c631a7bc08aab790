"""A checkpoint as a folder that stock ``from_pretrained`` loads, no masks needed.

Even widths: physically smaller. Uneven ones: padded with zeros to the widest layer, which changes
no output (no in-library architecture takes uneven widths; the real saving is then in the GGUF).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from birdbone.errors import ExportError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import hf_config, stock_state
from birdbone.model.pruning.removal import padded


def write_folder(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> dict:
    """Write ``config.json`` and ``model.safetensors``; returns ``{ffn_width, kv_groups, padded}``.

    Raises ExportError for weights beyond the range of ``dtype``.
    """
    check_range(checkpoint, dtype)
    even, shape = padded(checkpoint)
    state = {n: t.to(dtype).contiguous() for n, t in stock_state(even).items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    config = hf_config(even.config)
    stored = {
        **config.to_dict(),
        "architectures": [_class_name(config)],
        "dtype": str(dtype).removeprefix("torch."),
    }
    (folder / "config.json").write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    return shape


def check_range(checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """Raises ExportError naming the first weight that would be infinite in ``dtype``, the
    folder's.
    """
    if lost := beyond(checkpoint.weights, dtype):
        name = str(dtype).removeprefix("torch.")
        largest = float(checkpoint.weights[lost[0]].abs().max())
        raise ExportError(
            f"parameter export.dtype: {name} ends at {torch.finfo(dtype).max:g}, but {lost[0]} has "
            f"{largest:g}"
            + (f", and {len(lost) - 1} tensors more are beyond it" if lost[1:] else "")
            + ". Set export.dtype: bfloat16, or float32"
        )


def beyond(weights: dict[str, Tensor], dtype: torch.dtype) -> list[str]:
    """Names of the tensors that hold a value which is not finite in ``dtype``."""
    return [n for n, w in weights.items() if not fits(w, dtype)]


def fits(weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether every value stays finite in ``dtype``."""
    return bool(weight.abs().max().to(dtype).isfinite())


def copy_tokenizer(source: Path, folder: Path) -> None:
    """The tokenizer's files, and the generation settings beside them, into an export's folder."""
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name != "manifest.json":
            (folder / file.name).write_bytes(file.read_bytes())


def _class_name(config) -> str:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM._model_mapping[type(config)].__name__
