"""A GGUF file as a configuration and canonical weights: what ``plan`` and llama.cpp's converter
write, turned back.

Raises SourceError for what the file says that is not computed here, ArtifactError for what it
lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
from torch import Tensor
from transformers import CONFIG_MAPPING, LlamaConfig

from birdbone.errors import ArtifactError, NumericalError, SourceError, UnsupportedArchitectureError
from birdbone.gguf.header import Header
from birdbone.gguf.keys import LAYERS_OF_GEMMA3_27B, STANDS, llama3_factors
from birdbone.gguf.names import tensor_names
from birdbone.gguf.order import from_file
from birdbone.model.family import Family, families
from birdbone.model.layout import Layout
from birdbone.model.network import canonical_shapes
from birdbone.sources.fitting import check_fit

FACTORS = "rope_freqs.weight"
ROPE_THETA, WINDOW_PERIOD, ATTENTION_PERIOD = 10_000.0, 6, 4
"""What llama.cpp takes where a file does not say."""
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3_CONTEXTS = [2**power for power in range(5, 21)]
TOKENS = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
LISTED = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")
"""Keys that may be listed by layer."""
NOT_COMPUTED = (
    "expert_count",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attention.scale",
) + (
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attn_logit_softcapping",
    "attention.relative_buckets_count",
    "nextn_predict_layers",
)
"""Keys that change what a model computes, for which the families here have no form."""


def raw_config(path: Path, header: Header) -> dict[str, Any]:
    """The file's keys under the names of ``config.json``; not yet checked."""
    keys, family = header.metadata, family_by_name(path, header)
    architecture = keys["general.architecture"]

    def own(key: str, default: Any = None) -> Any:
        return keys.get(f"{architecture}.{key}", default)

    for key in NOT_COMPUTED:
        if own(key) and key not in family.gguf.floats:
            raise SourceError(
                f"{path}: {architecture}.{key} is {own(key)}, which is not computed for a "
                f"{architecture}"
            )
    config = {"model_type": family.model_types[0]}
    for key, name in {**family.gguf.sizes, **family.gguf.floats}.items():
        value = own(key, own("attention.head_count") if key == "attention.head_count_kv" else None)
        if isinstance(value, list) and key in LISTED:
            value = _usual(path, header, family, key, value)
        if type(value) is not (int if key in family.gguf.sizes else float):
            said = (
                f"has {architecture}.{key} as {value!r}"[:120]
                if value
                else f"lacks the key {architecture}.{key}"
            )
            raise ArtifactError(f"{path} {said}: one number is asked for. Fetch or write it again")
        config[name] = value
    config |= {
        f"{name}_token_id": keys[k]
        for t, name in TOKENS.items()
        if (k := f"tokenizer.ggml.{t}_token_id") in keys
    }
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None:
        raise ArtifactError(f"{path} lacks the tensor token_embd.weight. Fetch or write it again")
    stock = CONFIG_MAPPING[family.model_types[0]]()
    if (getattr(stock, "pad_token_id", None) or 0) >= embedding.shape[0]:
        config.setdefault("pad_token_id", None)  # the class's own is of a larger vocabulary
    config |= dict.fromkeys(("vocab_size", *family.vocabulary), embedding.shape[0])
    config |= {"tie_word_embeddings": "output.weight" not in header.tensors}
    config |= {key: config[other] for key, other in family.gguf.equal.items()}
    if family.linear_attention:
        config |= _recurrent(family, own)
    if family.attention.per_layer:
        config |= _layers_apart(family, header, own)
    config |= {flag: True for flag in _biases(family, header)}
    if family.gguf.rope:
        config |= _positions(path, architecture, family, own, header)
    return config


def family_by_name(path: Path, header: Header) -> Family:
    """The family of a file's ``general.architecture``. Raises UnsupportedArchitectureError naming
    those known.
    """
    name, known = (
        header.metadata.get("general.architecture"),
        {f.gguf.arch: f for f in families().values()},
    )
    if header.metadata.get("general.type", "model") != "model":
        kind = header.metadata["general.type"]
        raise SourceError(
            f"{path} is no model but a GGUF of the type {kind!r}: give the model it belongs to"
        )
    if header.metadata.get("split.count", 1) > 1:
        raise SourceError(
            f"{path} is one of {header.metadata['split.count']} parts: join them first "
            "(llama-gguf-split --merge) and give the whole"
        )
    if name == "deci":
        raise SourceError(
            f"{path}: a GGUF file of uneven widths (deci) is no seed; give the model's folder with "
            "config.json and *.safetensors instead"
        )
    if name not in known:
        raise UnsupportedArchitectureError(
            f"{path}: general.architecture {name!r} is not supported (known: "
            f"{', '.join(sorted(known))})"
        )
    return known[name]


def check_tensors(path: Path, header: Header, config: dict[str, Any]) -> None:
    """Refuse tensors that are missing, of another shape, of an unknown type, or without a place."""
    expected = {name: shape for name, _, shape in _places(config)}
    form = Layout(config).family.gguf
    used = {FACTORS} if {"llama3", "proportional"} & set(form.rope_types) else set()
    found = {name: info.shape for name, info in header.tensors.items() if name not in used}
    check_fit(
        path,
        expected,
        found,
        ("output.weight", "token_embd.weight") if config["tie_word_embeddings"] else None,
    )
    for name, info in header.tensors.items():
        if info.type[0] == "I" and info.type[1:].isdigit():
            raise SourceError(
                f"{path}: tensor {name} is of integers ({info.type}), which is no weight"
            )


def weights(path: Path, header: Header, config: dict[str, Any]) -> dict[str, Tensor]:
    """Every weight by its canonical name, float32, [out, in]. Raises NumericalError for NaN or
    infinity.
    """
    data = np.memmap(path, np.uint8, "r")
    layout = Layout(config)
    shapes = canonical_shapes(config)
    tensors: dict[str, Tensor] = {}
    for name, parts, _ in _places(config):
        if name not in header.tensors:
            continue  # a tied head
        tensor = _read(path, header, name, data)
        if not torch.isfinite(tensor).all():
            raise NumericalError(
                f"{path}: tensor {name} holds NaN or infinite values: the file is damaged"
            )
        for part, rows in zip(parts, tensor.split(list(parts.values())), strict=True):
            numbers = from_file(layout, layout.family.gguf.arch, part, rows.reshape(shapes[part]))
            tensors[part] = numbers.contiguous().clone()
    return tensors


def _places(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, int], tuple[int, ...]]]:
    """(GGUF name, the canonical weights it joins with the rows of each, its shape) of every tensor
    of a model.
    """
    shapes = canonical_shapes(config)
    names = tensor_names(Layout(config), shapes)
    for name, parts in names.items():
        rows = {part: shapes[part][0] for part in parts}
        columns = shapes[parts[0]][1:]
        yield name, rows, (sum(rows.values()), *(columns[1:] if len(columns) == 2 else columns))


def _read(path: Path, header: Header, name: str, data: np.ndarray) -> Tensor:
    info = header.tensors[name]
    kind = GGMLQuantizationType[info.type]
    block, block_bytes = GGML_QUANT_SIZES[kind]
    rows = data[info.offset : info.offset + info.nbytes]
    rows = rows.reshape(*info.shape[:-1], info.shape[-1] // block * block_bytes)
    try:
        return torch.from_numpy(np.array(dequantize(rows, kind), np.float32))
    except NotImplementedError as error:
        raise SourceError(
            f"{path}: tensor {name} is of the type {info.type}, which cannot be read here"
        ) from error


def _biases(family: Family, header: Header) -> list[str]:
    """The configuration's switches for biases that the file has and the family can leave out."""
    stock = CONFIG_MAPPING[family.model_types[0]]
    found = {
        name.split(".")[2]
        for name in header.tensors
        if name.startswith("blk.") and name.endswith(".bias")
    }
    kinds = {"attention_bias": "attn_", "mlp_bias": "ffn_"}
    return [
        flag
        for flag, start in kinds.items()
        if hasattr(stock, flag) and any(n.startswith(start) for n in found)
    ]


def _positions(
    path: Path, architecture: str, family: Family, own, header: Header
) -> dict[str, Any]:
    size = own("attention.key_length", own("rope.dimension_count"))
    if size is None:
        size = own("embedding_length") // max(own("attention.head_count"), 1)
    partial = family.gguf.partial_rotary
    for key in ("attention.value_length", *(() if partial else ("rope.dimension_count",))):
        if own(key, size) != size:
            raise SourceError(
                f"{path}: {architecture}.{key} is {own(key)}, heads are of {size}: not computed "
                "here"
            )
    rope = {"rope_type": "default", "rope_theta": own("rope.freq_base", ROPE_THETA)}
    kind = own("rope.scaling.type", "linear" if own("rope.scale_linear") else "none")
    if kind not in ("none", "linear"):
        raise SourceError(
            f"{path}: {architecture}.rope.scaling.type is {kind!r}; none and linear are computed "
            "here"
        )
    factor = own("rope.scaling.factor", own("rope.scale_linear", 1.0))
    if kind == "linear" and factor != 1:
        rope |= {"rope_type": "linear", "factor": factor}
    if partial:
        rope["partial_rotary_factor"] = own("rope.dimension_count", size) / size
    if sections := family.gguf.rope_sections:
        rope[sections.key] = own("rope.dimension_sections", [*sections.default, 0])[:3]
    if "proportional" in family.gguf.rope_types:
        rope |= _proportional(path, header)
    if not family.gguf.windowed:
        rope = _llama3(path, header, rope, size) if FACTORS in header.tensors else rope
        odd = size != own("embedding_length") // max(own("attention.head_count"), 1)
        named = (
            {"head_dim": size}
            if odd or hasattr(CONFIG_MAPPING[family.model_types[0]], "head_dim")
            else {}
        )
        return {"rope_parameters": rope, **named}
    if family.gguf.window_sizes:
        return {"head_dim": own("attention.key_length_swa"), **_windows(own, rope)}
    return {"head_dim": size, "query_pre_attn_scalar": _assumed(own, size), **_windows(own, rope)}


def _proportional(path: Path, header: Header) -> dict[str, Any]:
    """The share of rotary pairs that turn: all whose frequencies are not divided away."""
    if FACTORS not in header.tensors:
        return {}
    divisors = _read(path, header, FACTORS, np.memmap(path, np.uint8, "r"))
    turned = int((divisors == 1).sum())
    if not torch.equal(divisors, torch.where(torch.arange(len(divisors)) < turned, 1.0, STANDS)):
        raise SourceError(
            f"{path}: the divisors of frequencies in {FACTORS} do not leave out the last pairs "
            "alone"
        )
    return {"rope_type": "proportional", "partial_rotary_factor": turned / len(divisors)}


def _usual(path: Path, header: Header, family: Family, key: str, values: list[int]) -> int:
    """The configuration's number of what a file lists by layer. Raises SourceError where no
    configuration of the family says that.
    """
    keys = header.metadata
    architecture = keys["general.architecture"]
    usual = values[0]
    expected = [usual] * len(values)
    first = keys[f"{architecture}.block_count"] - keys.get(
        f"{architecture}.attention.shared_kv_layers", 0
    )
    if key == "feed_forward_length" and family.ffn.doubled and values[-1] != usual:
        expected[first:] = [2 * usual] * len(expected[first:])
    if key == "attention.head_count_kv" and family.attention.values_are_keys:
        slides = keys[f"{architecture}.attention.sliding_window_pattern"]
        by_kind = dict(zip(slides, values, strict=False))
        usual = by_kind.get(True, usual)
        expected = [by_kind[sliding] for sliding in slides[: len(values)]]
    if values != expected:
        raise SourceError(
            f"{path}: {architecture}.{key} differs from layer to layer: a GGUF file of uneven "
            "widths is no seed; give the model's folder with config.json and *.safetensors instead"
        )
    return usual


def _layers_apart(family: Family, header: Header, own) -> dict[str, Any]:
    """What the full layers have of their own: their heads' size and number, values that are the
    keys.
    """
    kinds = _windows(own, {})["layer_types"]
    groups = own("attention.head_count_kv")
    full = [layer for layer, kind in enumerate(kinds) if kind == "full_attention"]
    apart = {str(layer): {"head_dim": own("attention.key_length")} for layer in full}
    if isinstance(groups, list):
        for layer in full:
            apart[str(layer)][family.attention.kv_heads] = groups[layer]
    config: dict[str, Any] = {family.attention.per_layer: apart}
    widths = own("feed_forward_length")
    if family.ffn.doubled and isinstance(widths, list):
        config[family.ffn.doubled] = widths[-1] != widths[0]
    if equal := family.attention.values_are_keys:
        own_keys = [f"blk.{layer}.attn_k.weight" in header.tensors for layer in full]
        own_values = [f"blk.{layer}.attn_v.weight" in header.tensors for layer in full]
        config[equal.key] = own_keys != own_values
    return config


def _recurrent(family: Family, own) -> dict[str, Any]:
    """The kinds of layers: those that the file calls recurrent have linear attention."""
    layers, every = own("block_count"), own("full_attention_interval", ATTENTION_PERIOD)
    recurrent = own(family.gguf.recurrent, [(layer + 1) % every != 0 for layer in range(layers)])
    kinds = [
        family.linear_attention.kind if linear else "full_attention"
        for linear in recurrent[:layers]
    ]
    return {family.kinds.key: kinds}


def _windows(own, rope: dict[str, Any]) -> dict[str, Any]:
    window, layers = own("attention.sliding_window", 0), own("block_count")
    pattern = own("attention.sliding_window_pattern", WINDOW_PERIOD)
    if not isinstance(pattern, list):
        pattern = [bool(pattern) and (layer + 1) % pattern != 0 for layer in range(layers)]
    kinds = [
        "sliding_attention" if window and slides else "full_attention"
        for slides in pattern[:layers]
    ]
    local = {"rope_type": "default", "rope_theta": own("rope.freq_base_swa", ROPE_THETA)}
    found = {
        "layer_types": kinds,
        "rope_parameters": {"full_attention": rope, "sliding_attention": local},
    }
    found["final_logit_softcapping"] = own("final_logit_softcapping")
    return found | ({"sliding_window": window} if window else {})


def _assumed(own, size: int) -> int:
    """The number under the root in llama.cpp's attention scale for Gemma 3."""
    largest = own("block_count") == LAYERS_OF_GEMMA3_27B
    return own("embedding_length") // own("attention.head_count") if largest else size


def _llama3(path: Path, header: Header, rope: dict[str, Any], size: int) -> dict[str, Any]:
    """Llama 3's rule that gives the divisors of frequencies in the file. Only its results are
    stored there: the context it was trained for is searched, and the divisors prove it.
    """
    wanted = _read(path, header, FACTORS, np.memmap(path, np.uint8, "r"))
    for context in LLAMA3_CONTEXTS:
        rule = {
            **rope,
            **LLAMA3,
            "factor": float(wanted.max()),
            "original_max_position_embeddings": context,
        }
        found = llama3_factors(LlamaConfig(head_dim=size, rope_parameters=rule), size)
        if found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4):
            return rule
    raise SourceError(
        f"{path}: the divisors of frequencies in {FACTORS} follow no rule of Llama 3. Give the "
        "model's folder instead"
    )
