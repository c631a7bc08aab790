"""Model families as GGUF knows them: architecture names, tensor names and keys, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml

from birdbone.errors import ExportError

FOLDER = files("birdbone.gguf")
PAIRED = ("llama", "deci")


@dataclass(frozen=True)
class Family:
    """One family's GGUF form; see ``llama.yml`` for the meaning of each."""

    name: str
    model_types: list[str]
    arch: str
    activation: dict[str, str]
    sizes: dict[str, str]
    floats: dict[str, str]
    modules: dict[str, str]
    block: dict[str, str]
    uneven: str | None = None
    fixed_heads: bool = False
    rope: bool = True
    windowed: bool = False
    softcap: bool = False
    norm_shift: float = 0.0
    float32: list[str] = field(default_factory=list)


@cache
def families() -> dict[str, Family]:
    """Every family that can be written, keyed by ``model_type``."""
    raw = {f.name[:-4]: yaml.safe_load(f.read_text()) for f in FOLDER.iterdir() if f.name.endswith(".yml")}
    raw = {name: data for name, data in raw.items() if "model_types" in data}
    known = {}
    for name, data in raw.items():
        if "extends" in data:
            parent = raw[data["extends"]]
            data = {**parent, **data, "block": {**parent["block"], **data.get("block", {})}}
            del data["extends"]
        known |= dict.fromkeys(data["model_types"], Family(name=name, **data))
    return known


def family_of(config: dict) -> Family:
    """The GGUF form of a model's family; raises ExportError naming the file that would add it."""
    kind = config.get("model_type", "")
    if kind not in families():
        raise ExportError(
            f"model_type {kind!r} has no GGUF form here (known: {', '.join(sorted(families()))}). "
            f"To add it, describe its tensors in src/birdbone/gguf/{kind or 'NAME'}.yml"
        )
    return families()[kind]


def supports_uneven(config: dict) -> bool:
    """Whether stock llama.cpp runs this family with widths that differ from layer to layer."""
    return family_of(config).uneven is not None


def supports_fewer_heads(config: dict) -> bool:
    """Whether stock llama.cpp runs this family with key-value groups removed, evenly at least."""
    family = family_of(config)
    return family.uneven is not None or not family.fixed_heads
