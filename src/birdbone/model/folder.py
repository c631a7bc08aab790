"""A checkpoint as a folder that stock ``from_pretrained`` loads, no masks needed.

Even widths: physically smaller. Uneven ones: padded with zeros to the widest layer, which changes no
output (no in-library architecture takes uneven widths; the real saving is then in the GGUF).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from birdbone.errors import ExportError
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import hf_config, stock_state
from birdbone.model.pruning.removal import ffn_width, kv_groups


def write_folder(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> dict:
    """Write ``config.json`` and ``model.safetensors``; returns ``{ffn_width, kv_groups, padded}``.

    Raises ExportError for weights beyond the range of ``dtype``.
    """
    check_range(checkpoint, dtype)
    even, shape = padded(checkpoint)
    state = {n: t.to(dtype).contiguous() for n, t in stock_state(even).items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    config = hf_config(even.config)
    stored = {**config.to_dict(), "architectures": [_class_name(config)], "dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    return shape


def check_range(checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """Raises ExportError naming the first weight that would be infinite in ``dtype``, the folder's."""
    if lost := beyond(checkpoint.weights, dtype):
        name = str(dtype).removeprefix("torch.")
        largest = float(checkpoint.weights[lost[0]].abs().max())
        raise ExportError(
            f"parameter export.dtype: {name} ends at {torch.finfo(dtype).max:g}, but {lost[0]} has {largest:g}"
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


def padded(checkpoint: Checkpoint) -> tuple[Checkpoint, dict]:
    """The checkpoint at one width for all layers, its configuration saying so; masks dropped."""
    architecture = architecture_of(checkpoint.config)
    layers = range(checkpoint.layers)
    width = max(ffn_width(checkpoint, i) for i in layers)
    most = max(kv_groups(checkpoint, i) for i in layers)
    if "width_default" in architecture.ffn:
        most = architecture.kv_heads(checkpoint.config)
    size = architecture.head_size(checkpoint.config)
    shared = architecture.heads(checkpoint.config) // architecture.kv_heads(checkpoint.config)
    weights = {}
    for layer in layers:
        query, key, value, out = architecture.linears(layer)[:4]
        rows = {
            **dict.fromkeys(architecture.ffn_inputs(layer), width),
            query: most * size * shared,
            key: most * size,
            value: most * size,
        }
        for name, count in rows.items():
            for kind in ("weight", "bias"):
                _pad(checkpoint, f"{name}.{kind}", 0, count, weights)
        _pad(checkpoint, f"{architecture.ffn_output(layer)}.weight", 1, width, weights)
        _pad(checkpoint, f"{out}.weight", 1, most * size * shared, weights)
    config = {**checkpoint.config, architecture.ffn["width"]: width, **_heads(architecture, most, shared)}
    config["tie_word_embeddings"] = f"{architecture.head}.weight" not in checkpoint.weights
    if architecture.head_size(config) != size:
        config["head_dim"] = size
    return Checkpoint(config, {**checkpoint.weights, **weights}), {
        "ffn_width": width,
        "kv_groups": most,
        "padded": bool(weights),
    }


def _heads(architecture: Architecture, groups: int, shared: int) -> dict:
    found = {architecture.attention["heads"]: groups * shared}
    return found | {architecture.attention["kv_heads"]: groups}


def _pad(checkpoint: Checkpoint, name: str, dim: int, count: int, into: dict[str, Tensor]) -> None:
    weight = checkpoint.weights.get(name)
    if weight is None or weight.shape[dim] == count:
        return
    shape = list(weight.shape)
    shape[dim] = count - weight.shape[dim]
    into[name] = torch.cat([weight, weight.new_zeros(shape)], dim)


def _class_name(config) -> str:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM._model_mapping[type(config)].__name__
