"""A model's configuration as GGUF keys: shapes, heads, norms, positions, windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from birdbone.errors import ExportError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.family import GgufForm

LAYERS_OF_GEMMA3_27B = 62


@dataclass(frozen=True)
class GgufShape:
    """What the layers of a narrow model look like. widths, groups: per layer."""

    widths: list[int]
    groups: list[int]
    heads_per_group: int
    head_size: int
    hidden: int

    @property
    def heads(self) -> list[int]:
        """Query heads per layer."""
        return [groups * self.heads_per_group for groups in self.groups]

    @property
    def even(self) -> bool:
        """Whether every layer has the same width and the same heads."""
        return len(set(self.widths)) == len(set(self.groups)) == 1


def gguf_shape(checkpoint: Checkpoint) -> GgufShape:
    """Widths and key-value groups of every layer, read off the weights.

    Raises ExportError for a layer with no neuron or no group left, which llama.cpp gets wrong.
    """
    widths = checkpoint.counts("ffn")
    groups = checkpoint.counts("kv")
    for layer in range(checkpoint.layers):
        if not widths[layer] or not groups[layer]:
            raise ExportError(
                f"layer {layer} has {widths[layer]} neurons and {groups[layer]} key-value "
                "groups: llama.cpp mistreats empty layers, keep 32 neurons and one group"
            )
    block = checkpoint.layout.blocks[0]
    hidden = checkpoint.weights[checkpoint.layout.embedding].shape[1]
    return GgufShape(widths, groups, block.heads // block.kv_heads, block.head_size, hidden)


def architecture_name(form: GgufForm, shape: GgufShape, heads: int) -> str:
    """llama.cpp's architecture for this shape. heads: query heads per layer of the seed.

    Raises ExportError when stock llama.cpp has none.
    """
    if shape.even and not (form.fixed_heads and shape.heads[0] != heads):
        return form.arch
    if form.uneven is None:
        missing = "uneven widths" if not shape.even else "fewer heads"
        raise ExportError(
            f"stock llama.cpp has no {form.arch} with {missing}: "
            "prune with even widths (widths: even) and leave the heads whole (prune_wave.attention: false)"
        )
    return form.uneven


def model_keys(
    arch: str, form: GgufForm, config: PretrainedConfig, shape: GgufShape, vocabulary: int
) -> dict[str, Any]:
    """Every ``<arch>.*`` key of a model; lists are per layer.

    Raises ExportError for settings that llama.cpp does not compute for this form.
    """
    check_settings(form, config)
    uneven = not shape.even or arch != form.arch
    keys: dict[str, Any] = {
        "block_count": len(shape.widths),
        "context_length": context_length(form, config),
        "embedding_length": shape.hidden,
        "feed_forward_length": shape.widths if uneven else shape.widths[0],
        "attention.head_count": shape.heads if uneven else shape.heads[0],
        "attention.head_count_kv": shape.groups if uneven else shape.groups[0],
        "attention.key_length": shape.head_size,
        "attention.value_length": shape.head_size,
        "vocab_size": vocabulary,
    }
    keys |= {key: float(getattr(config, name)) for key, name in form.floats.items()}
    if form.rope:
        keys |= {"rope.dimension_count": shape.head_size, **rope_keys(config)}
    if form.windowed:
        keys |= _window_keys(config)
    if form.softcap and config.final_logit_softcapping:
        keys["final_logit_softcapping"] = float(config.final_logit_softcapping)
    return keys


def rope_factors(config: PretrainedConfig, head_size: int) -> Tensor | None:
    """Divisors of the rotary frequencies where they are not one number (Llama 3): [head_size / 2]."""
    rope = _full_rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device="cpu")
    plain = rope["rope_theta"] ** -(torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
    return plain / scaled


def query_factor(config: PretrainedConfig, shape: GgufShape) -> float:
    """What Gemma 3's query norm is multiplied by, where its softmax scale is not llama.cpp's own."""
    scalar = getattr(config, "query_pre_attn_scalar", None)
    if scalar is None:
        return 1.0
    largest = len(shape.widths) == LAYERS_OF_GEMMA3_27B
    assumed = shape.hidden // shape.heads[0] if largest else shape.head_size
    return (assumed / scalar) ** 0.5


def check_settings(form: GgufForm, config: PretrainedConfig) -> None:
    """Raises ExportError for a setting, known from ``config.json`` alone, that llama.cpp does not compute."""
    activation = getattr(config, form.activation.key)
    refused = {
        f"{form.activation.key} is {activation!r}, not {form.activation.value!r}": (
            activation != form.activation.value
        ),
        "attn_logit_softcapping is set": getattr(config, "attn_logit_softcapping", None),
        "scale_attn_by_inverse_layer_idx is set": getattr(config, "scale_attn_by_inverse_layer_idx", False),
        "scale_attn_weights is off": not getattr(config, "scale_attn_weights", True),
        "use_bidirectional_attention is set": getattr(config, "use_bidirectional_attention", False),
    }
    if found := [fault for fault, is_so in refused.items() if is_so]:
        raise ExportError(f"config.json: {found[0]}: llama.cpp's {form.arch} does not compute it")
    if form.rope:
        rope_keys(config)
        if _full_rope(config).get("rope_type") == "llama3" and not form.rope_factors:
            raise ExportError(f"config.json: rope_type 'llama3' is not computed by llama.cpp's {form.arch}")
    if form.unrotated:
        _check_unrotated(form, getattr(config, form.unrotated.key))
    if form.windowed:
        _window_keys(config)


def _check_unrotated(form: GgufForm, rotated: list[int]) -> None:
    every = form.unrotated.every
    if rotated != [int((layer + 1) % every != 0) for layer in range(len(rotated))]:
        raise ExportError(
            f"config.json: {form.unrotated.key} is {rotated}: llama.cpp's {form.arch} leaves rotary positions out of "
            f"every layer {every} and of no other"
        )


def context_length(form: GgufForm, config: PretrainedConfig) -> int:
    """Positions that behave as in PyTorch: a window that llama.cpp does not know ends them."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    windowed = window and not form.windowed and (kinds is None or "sliding_attention" in kinds)
    return min(config.max_position_embeddings, window) if windowed else config.max_position_embeddings


def shorter_context(form: GgufForm, config: PretrainedConfig) -> str | None:
    """What to say where the file's context is shorter than the model's."""
    length = context_length(form, config)
    if length == config.max_position_embeddings:
        return None
    return (
        f"llama.cpp's {form.arch} has no sliding window: the GGUF file's context ends with the window, at {length} "
        f"tokens (the folder's at {config.max_position_embeddings}), and files are compared within it"
    )


def _full_rope(config: PretrainedConfig) -> dict[str, Any]:
    rope = getattr(config, "rope_parameters", None) or {}
    return rope.get("full_attention", rope)


def rope_keys(config: PretrainedConfig) -> dict[str, Any]:
    """Keys of the rotary positions. Raises ExportError for a kind that has no GGUF form here."""
    rope = _full_rope(config)
    kind = rope.get("rope_type", "default")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise ExportError("config.json: partial_rotary_factor is not 1, which has no GGUF form here")
    if kind not in ("default", "linear", "llama3"):
        raise ExportError(f"config.json: rope_type {kind!r} has no GGUF form here; default, linear and llama3 have")
    keys: dict[str, Any] = {"rope.freq_base": float(rope["rope_theta"])}
    if kind == "linear":
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    return keys


def _window_keys(config: PretrainedConfig) -> dict[str, Any]:
    sliding = [kind == "sliding_attention" for kind in config.layer_types]
    if not any(sliding):
        return {}
    local = config.rope_parameters["sliding_attention"]
    if local.get("rope_type", "default") != "default":
        raise ExportError("llama.cpp does not scale the positions of sliding_attention layers")
    return {
        "attention.sliding_window": int(config.sliding_window),
        "attention.sliding_window_pattern": sliding,
        "rope.freq_base_swa": float(local["rope_theta"]),
    }
