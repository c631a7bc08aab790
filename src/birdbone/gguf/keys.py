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
STANDS = 1e30
"""What divides the frequency of a rotary pair that does not turn."""


@dataclass(frozen=True)
class GgufShape:
    """What the layers of a narrow model look like.

    widths: per layer. heads, groups: query heads and key-value heads per layer with attention. recurrent: which
    layers have linear attention in its place. window_head_size: of the layers with a sliding window.
    """

    widths: list[int]
    heads: list[int]
    groups: list[int]
    head_size: int
    window_head_size: int
    hidden: int
    recurrent: list[bool]

    @property
    def even(self) -> bool:
        """Whether every layer has the same width and the same heads."""
        return len(set(self.widths)) == len(set(self.groups)) == len(set(self.heads)) == 1


def gguf_shape(checkpoint: Checkpoint) -> GgufShape:
    """Widths and key-value groups of every layer, read off the weights.

    Raises ExportError for a layer with no neuron or no group left, which llama.cpp gets wrong.
    """
    layout = checkpoint.layout
    widths = checkpoint.counts("ffn")
    groups = checkpoint.counts("kv")
    for layer, block in enumerate(layout.blocks):
        if not widths[layer] or (block.attends and not groups[layer]):
            raise ExportError(
                f"layer {layer} has {widths[layer]} neurons and {groups[layer]} key-value "
                "groups: llama.cpp mistreats empty layers, keep 32 neurons and one group"
            )
    attending = [block for block in layout.blocks if block.attends]
    slides = [layout.kinds[block.layer] == "sliding_attention" for block in attending]
    sizes = {sliding: block.head_size for block, sliding in zip(attending, slides, strict=True)}
    return GgufShape(
        widths,
        heads=[groups[block.layer] * block.heads // block.kv_heads for block in attending],
        groups=[groups[block.layer] for block in attending],
        head_size=sizes.get(False, attending[0].head_size),
        window_head_size=sizes.get(True, attending[0].head_size),
        hidden=checkpoint.weights[layout.embedding].shape[1],
        recurrent=[not block.attends for block in layout.blocks],
    )


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
    keys |= {key: int(getattr(config, name) or 0) for key, name in form.sizes.items() if key not in keys}
    keys |= {key: getattr(config, one) * getattr(config, other) for key, (one, other) in form.products.items()}
    keys |= {key: float(getattr(config, name)) for key, name in form.floats.items()}
    if form.rope:
        rotated = int(shape.head_size * _rotated_part(form, config))
        if rotated != shape.head_size and arch != form.arch:
            raise ExportError(f"config.json: partial_rotary_factor is not 1, which llama.cpp's {arch} does not compute")
        keys |= {"rope.dimension_count": rotated, **rope_keys(config)}
    if form.rope_sections:
        sections = _full_rope(config).get(form.rope_sections.key, form.rope_sections.default)
        keys["rope.dimension_sections"] = [*sections, 0]
    if form.windowed:
        keys |= _window_keys(config)
    if form.window_sizes:
        lengths = ("attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa")
        keys |= dict.fromkeys(lengths, shape.window_head_size)
    if form.recurrent:
        keys[form.recurrent] = shape.recurrent
        keys["full_attention_interval"] = shape.recurrent.index(False) + 1  # asked for by other readers
    if form.softcap and config.final_logit_softcapping:
        keys["final_logit_softcapping"] = float(config.final_logit_softcapping)
    return keys


def rope_factors(form: GgufForm, config: PretrainedConfig, head_size: int) -> Tensor | None:
    """Divisors of the rotary frequencies where they are not one number, or asked for all the same: [head_size / 2].

    Proportional rotary turns the first pairs only: the others' frequencies are divided by so much that they stand.
    """
    rope = _full_rope(config)
    if rope.get("rope_type") == "llama3":
        return llama3_factors(config, head_size)
    if "proportional" not in form.rope_types:
        return None
    part = rope.get("partial_rotary_factor", 1.0) if rope["rope_type"] == "proportional" else 1.0
    factors = torch.full((head_size // 2,), STANDS)
    factors[: int(part * head_size // 2)] = 1.0
    return factors


def llama3_factors(config: PretrainedConfig, head_size: int) -> Tensor:
    """Llama 3's divisors of the rotary frequencies: [head_size / 2]."""
    rope = _full_rope(config)
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
        "use_bidirectional_attention is set": getattr(config, "use_bidirectional_attention", None) in (True, "all"),
    }
    refused |= {
        f"{key} is {getattr(config, key)}, {other} {getattr(config, other)}": getattr(config, key)
        != getattr(config, other)
        for key, other in form.equal.items()
    }
    if faults := [fault for fault, is_so in refused.items() if is_so]:
        raise ExportError(f"config.json: {faults[0]}: llama.cpp's {form.arch} does not compute it")
    if form.rope:
        _check_rope(form, config)
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


def _rotated_part(form: GgufForm, config: PretrainedConfig) -> float:
    """How much of each head rotary positions turn; all of it where divisors of the frequencies say which part."""
    return 1.0 if "proportional" in form.rope_types else _full_rope(config).get("partial_rotary_factor", 1.0)


def _check_rope(form: GgufForm, config: PretrainedConfig) -> None:
    rope = _full_rope(config)
    kind = rope.get("rope_type", "default")
    if kind not in form.rope_types:
        raise ExportError(
            f"config.json: rope_type {kind!r} is not computed by llama.cpp's {form.arch} here; "
            f"{', '.join(form.rope_types)} are"
        )
    if _rotated_part(form, config) != 1.0 and not form.partial_rotary:
        raise ExportError("config.json: partial_rotary_factor is not 1, which has no GGUF form here")
    if kind == "proportional" and rope.get("factor", 1.0) != 1.0:
        raise ExportError("config.json: factor of a proportional rope_type has no GGUF form here")


def rope_keys(config: PretrainedConfig) -> dict[str, Any]:
    """Keys of the rotary positions."""
    rope = _full_rope(config)
    kind = rope.get("rope_type", "default")
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
