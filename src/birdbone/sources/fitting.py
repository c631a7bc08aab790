"""Whether a file's tensors are those of its configuration: all there, of the right shape, none left
over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from birdbone.errors import ArtifactError, SourceError
from birdbone.model.ignorable import ignorable

FLOATS = ("F64", "F32", "F16", "BF16")
FLOATS_8 = ("F8_E4M3", "F8_E5M2", "F8_E8M0")
FP8 = "fp8"
INSTEAD = "Give the unquantized model, or its GGUF"


def check_format(origin: object, dtypes: Mapping[str, str], quantization: dict[str, Any]) -> None:
    """Refuse weights that are quantized in a format that is not read, by name and before any
    package is asked for.

    dtypes: tensor -> its safetensors dtype. quantization: ``quantization_config``, empty where
    there is none. Raises SourceError naming the format and what to give instead.
    """
    method = method_of(quantization)
    if method not in (None, FP8):
        name = _data()["methods"].get(method, method)
        raise SourceError(f"model {origin} is quantized already ({name}, says its quantization_config). {INSTEAD}")
    read = (*FLOATS, *FLOATS_8) if method == FP8 else FLOATS
    if method is None:
        for name, dtype in sorted(dtypes.items()):
            if dtype in FLOATS_8:
                raise SourceError(
                    f"model {origin} is FP8 ({name} is {dtype}), but its config.json has no "
                    "quantization_config that "
                    f"says how. {INSTEAD}, or its config.json as published"
                )
            if pattern_format := _first("quantized", "format", name):
                raise SourceError(f"model {origin} is quantized already ({pattern_format}: it has {name}). {INSTEAD}")
    for name, dtype in sorted(dtypes.items()):
        if dtype not in read and not ignorable(name):
            raise SourceError(
                f"model {origin} is quantized already, in a format not known here ({name} is {dtype}). {INSTEAD}"
            )


def method_of(quantization: dict[str, Any]) -> str | None:
    """The quantization's name in ``quantization_config``; None where there is none."""
    if not quantization:
        return None
    if method := quantization.get("quant_method"):
        name = str(method).lower()
        return f"{name} {_bits(quantization)}".strip() if name == "bitsandbytes" else name
    if {"load_in_4bit", "load_in_8bit"} & quantization.keys():
        return f"bitsandbytes {_bits(quantization)}".strip()
    return str(quantization.get("quant_algo") or quantization.get("format") or "an unnamed format").lower()


def check_fit(
    origin: object,
    expected: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    tied: tuple[str, str] | None = None,
) -> None:
    """Refuse tensors that are missing, of another shape, or without a place; shapes by name.

    tied: two names of which one suffices. Raises ArtifactError or SourceError naming some of them,
    and the configuration's key that is likely wrong.
    """
    missing = sorted(expected.keys() - shapes.keys())
    if tied and set(tied) & shapes.keys():
        missing = [name for name in missing if name not in tied]
    left = sorted(n for n in shapes.keys() - expected.keys() if not ignorable(n))
    if left:
        raise SourceError(
            f"model {origin} holds {len(left)} tensors that its configuration has no place for, "
            "such as "
            f"{_some(left)}: {_hint(left, expected)}. They would be lost, and the model would be "
            "another one"
        )
    if missing:
        raise ArtifactError(
            f"model {origin} lacks {len(missing)} tensors of its configuration, such as "
            f"{_some(missing)}: it is "
            f"incomplete, download it again{_head_hint(missing)}"
        )
    for name in expected:
        if name in shapes and shapes[name] != expected[name]:
            raise SourceError(
                f"model {origin}: tensor {name} is of shape {list(shapes[name])}, its "
                "configuration asks for "
                f"{list(expected[name])}: the file and its configuration are not of the same model"
            )


def _hint(left: list[str], expected: Mapping[str, tuple[int, ...]]) -> str:
    blocks = [number for name in left if (number := _block(name)) is not None]
    layers = {number for name in expected if (number := _block(name)) is not None}
    if blocks and set(blocks) - layers and len(layers) == max(layers, default=-1) + 1:
        return f"they are of layer {max(blocks)}, the number of layers (num_hidden_layers) is likely wrong"
    hints = [hint for name in left if (hint := _first("hints", "says", name))]
    return hints[0] if hints else "the configuration is likely another model's"


def _block(name: str) -> int | None:
    match = re.search(r"(?:^|\.)(?:layers|h|blk)\.(\d+)\.", name)
    return int(match[1]) if match else None


def _head_hint(missing: list[str]) -> str:
    return (
        " (or set tie_word_embeddings to true, if it has no head of its own)" if missing == ["lm_head.weight"] else ""
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3])


def _bits(quantization: dict[str, Any]) -> str:
    return next((f"{bits}-bit" for bits in (4, 8) if quantization.get(f"load_in_{bits}bit")), "")


def _first(table: str, key: str, name: str) -> str | None:
    return next((row[key] for row in _data()[table] if row["pattern"].search(name)), None)


@cache
def _data() -> dict[str, Any]:
    data = yaml.safe_load((files("birdbone.sources") / "tensors.yml").read_text())
    for table in ("hints", "quantized"):
        data[table] = [{**row, "pattern": re.compile(row["pattern"])} for row in data[table]]
    return data
