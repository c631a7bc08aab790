"""A configuration, checked: every value of a kind and size that the model's family computes with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from birdbone.errors import SourceError, UnsupportedArchitectureError
from birdbone.model.family import Family, families, family_of
from birdbone.model.layout import Layout

COUNTS = (
    "hidden_size",
    "n_embd",
    "intermediate_size",
    "num_hidden_layers",
    "n_layer",
    "num_attention_heads",
    "n_head",
    "vocab_size",
    "max_position_embeddings",
    "n_positions",
)
OPTIONAL_COUNTS = ("num_key_value_heads", "head_dim", "n_inner", "sliding_window")
MEASURES = ("rms_norm_eps", "layer_norm_epsilon", "rope_theta", "rope_local_base_freq", "query_pre_attn_scalar")
SWITCHES = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window")
ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")
LARGEST, MOST_LAYERS = 2**31 - 1, 10_000
NOT_KEPT = (
    "quantization_config",
    "compression_config",
    "_name_or_path",
    "_model_name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "auto_map",
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
"""How and where a model was stored, and what would fetch or run code that is not the family's own."""


def checked(raw: dict[str, Any], file: Path | str) -> dict[str, Any]:
    """The whole configuration that a raw one stands for, with its family's defaults.

    Raises SourceError naming ``file`` and the key at fault, UnsupportedArchitectureError for an unknown family.
    """
    family = _family(raw, file)
    for key, value in raw.items():
        _check(key, value, file)
    for name in ("rope_parameters", "rope_scaling"):
        _check_rope(name, raw.get(name), file)
    try:
        found = clean(CONFIG_MAPPING[raw["model_type"]](**clean(raw)).to_dict())
    except Exception as error:  # transformers' own checks raise many kinds
        raise SourceError(f"{file} is no configuration of {raw['model_type']}: {_line(error)}") from error
    _check_refused(family, found, file)
    _check_heads(family, found, file)
    return found


def clean(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that says nothing of how or where the model was stored."""
    return json.loads(json.dumps({k: v for k, v in config.items() if k not in NOT_KEPT}, default=str))


def _family(raw: dict[str, Any], file: Path | str) -> Family:
    kind = raw.get("model_type")
    if isinstance(kind, str) and kind in families():
        return families()[kind]
    if raw.get("auto_map"):
        raise UnsupportedArchitectureError(
            f"{file}: model_type {kind!r} is computed by Python code of its own (auto_map), which birdbone never runs. "
            f"Known are {', '.join(sorted(families()))}"
        )
    if isinstance(raw.get("text_config"), dict):
        raise UnsupportedArchitectureError(
            f"{file}: model_type {kind!r} has a text_config, it is a model of pictures or sound too. Give its language "
            f"model alone; known are {', '.join(sorted(families()))}"
        )
    return family_of({"model_type": kind if isinstance(kind, str) else ""})


def _check(key: str, value: Any, file: Path | str) -> None:
    optional = key in OPTIONAL_COUNTS
    if key in COUNTS or (optional and value is not None):
        most = MOST_LAYERS if key in ("num_hidden_layers", "n_layer") else LARGEST
        _wanted(key, value, file, lambda v: type(v) is int and 0 < v <= most, f"an integer from 1 to {most}", optional)
    elif key in MEASURES:
        _wanted(key, value, file, _measure, "a finite number above 0")
    elif key in SWITCHES:
        _wanted(key, value, file, lambda v: isinstance(v, bool), "true or false")
    elif key in ACTIVATIONS:
        _wanted(key, value, file, lambda v: isinstance(v, str) and v in ACT2FN, "the name of an activation")


def _check_rope(name: str, rope: Any, file: Path | str) -> None:
    if rope is None:
        return
    _wanted(name, rope, file, lambda v: isinstance(v, dict), "an object", optional=True)
    if rope and all(isinstance(v, dict) for v in rope.values()):
        for kind, inner in rope.items():
            _check_rope(f"{name}.{kind}", inner, file)
        return
    for key, value in rope.items():
        if key in ("rope_theta", "factor"):
            _wanted(f"{name}.{key}", value, file, _measure, "a finite number above 0")
        if key in ("rope_type", "type"):
            known = ("default", *ROPE_INIT_FUNCTIONS)
            _wanted(f"{name}.{key}", value, file, lambda v: v in known, f"one of {', '.join(sorted(set(known)))}")  # noqa: B023


def _check_refused(family: Family, config: dict[str, Any], file: Path | str) -> None:
    arch = family.gguf.arch
    for key, value in family.refused.items():
        if config.get(key) == value:
            raise UnsupportedArchitectureError(
                f"{file}: {key} is {json.dumps(value)}: there is no form for it here or in llama.cpp's {arch}"
            )
    for key, other in family.needs.items():
        if config.get(key) and not config.get(other):
            raise UnsupportedArchitectureError(
                f"{file}: {key} is {config[key]}, {other} {config[other]}: transformers fails on it"
            )
    if family.kinds is None:
        return
    kinds = config[family.kinds.key]
    if lacking := [kind for kind in family.kinds.needed if kind not in kinds]:
        raise UnsupportedArchitectureError(
            f"{file}: {family.kinds.key} has no {lacking[0]}: transformers or llama.cpp's {arch} "
            "fails without such a layer"
        )
    first = Layout(config).first_reusing
    if first < len(kinds) and kinds[max(0, first - 2) : first] != list(family.kinds.needed):
        raise UnsupportedArchitectureError(
            f"{file}: {family.attention.reusing} is {config[family.attention.reusing]}: in llama.cpp's {arch} the last "
            f"two layers with keys and values of their own must be {' and '.join(family.kinds.needed)}"
        )


def _check_heads(family: Family, config: dict[str, Any], file: Path | str) -> None:
    keys = family.attention
    layout = Layout(config)
    heads, groups = layout.heads
    size = layout.blocks[0].head_size
    if heads % groups:
        raise SourceError(f"{file}: {keys.heads} {heads} is no multiple of {keys.kv_heads} {groups}")
    hidden = next(key for key in ("hidden_size", "n_embd") if key in config)
    if "head_dim" not in config and config[hidden] % heads:
        raise SourceError(f"{file}: {hidden} {config[hidden]} is no multiple of {keys.heads} {heads}")
    rotary = "rope_parameters" in config
    if size < 1 or (rotary and size % 2):
        raise SourceError(f"{file}: the size of a head comes out as {size}; it has to be even and above 0 (head_dim)")


def _wanted(
    key: str, value: Any, file: Path | str, fits: Callable[[Any], bool], what: str, optional: bool = False
) -> None:
    if not fits(value):
        said = json.dumps(value, default=str)
        raise SourceError(f"{file}: {key} is {said[:80]}; it has to be {what}{' or null' if optional else ''}")


def _measure(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
