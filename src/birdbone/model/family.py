"""Model families as data, a file each in ``families/``: both halves, PyTorch's names and llama.cpp's."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from birdbone.errors import UnsupportedArchitectureError

FOLDER = files("birdbone.model") / "families"
UNEVEN_PAIRED = ("deci",)
"""Uneven architectures whose rotary pairs lie side by side."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ffn(_Part):
    """The feed-forward network: modules of a block, and the configuration's key of its width."""

    inputs: tuple[str, ...]
    output: str
    width: str
    width_default: str | None = None


class Attention(_Part):
    """Attention: modules of a block, and the configuration's keys of its heads. fixed: no head can go."""

    query: str
    key: str
    value: str
    output: str
    heads: str
    kv_heads: str
    fixed: bool = False


class Norms(_Part):
    """Norms of a block: those whose output attention and network read (None: there is none), and all others.

    offset: what is added to the weights of every norm.
    """

    attention: str | None
    ffn: str | None
    after: tuple[str, ...] = ()
    offset: float = 0


class HeadNorms(_Part):
    """Norms of query and key: over each head, or over all heads at once."""

    query: str
    key: str
    over: Literal["head", "all"] = "head"


class Activation(_Part):
    """The one activation that llama.cpp computes: the configuration's key and its value."""

    key: str
    value: str


class Unrotated(_Part):
    """Layers without rotary positions: the configuration's key (0 in its list: none), and which llama.cpp takes."""

    key: str
    every: int


class GgufForm(_Part):
    """A family's form in GGUF; see ``families/llama.yml`` for the meaning of each."""

    arch: str
    activation: Activation
    sizes: dict[str, str]
    floats: dict[str, str]
    modules: dict[str, str]
    block: dict[str, str]
    uneven_block: dict[str, str] = {}
    uneven: str | None = None
    fixed_heads: bool = False
    own_head: bool = False
    rope: bool = True
    paired: bool = False
    rope_factors: bool = False
    unrotated: Unrotated | None = None
    windowed: bool = False
    softcap: bool = False
    float32: tuple[str, ...] = ()

    def pairs(self, arch: str) -> bool:
        """Whether an architecture, the family's own or its uneven one, wants rotary pairs side by side."""
        return self.paired if arch == self.arch else arch in UNEVEN_PAIRED

    def names(self, arch: str) -> dict[str, str]:
        """A block's modules -> their names in an architecture, the family's own or its uneven one."""
        return self.block if arch == self.arch else {**self.block, **self.uneven_block}


class Family(_Part):
    """One family's parts by name; see ``families/llama.yml`` for the meaning of each."""

    name: str
    model_types: tuple[str, ...]
    blocks: str
    embedding: str
    final_norm: str
    head: str
    ffn: Ffn
    attention: Attention
    norms: Norms
    head_norms: HeadNorms | None = None
    transposed: tuple[str, ...] = ()
    fused: dict[str, tuple[str, ...]] = {}
    gguf: GgufForm

    @property
    def file(self) -> str:
        """The file that describes the family, for messages."""
        return f"src/birdbone/model/families/{self.name}.yml"

    @property
    def prefix(self) -> str:
        """What the names of all but the head begin with; files of the bare network leave it out."""
        return self.blocks.partition(".")[0]


@cache
def families() -> dict[str, Family]:
    """Every family by ``model_type``. Raises UnsupportedArchitectureError naming a file that is not whole."""
    described = {f.name.removesuffix(".yml"): yaml.safe_load(f.read_text()) for f in sorted(FOLDER.iterdir(), key=str)}
    by_type = {}
    for name in described:
        try:
            family = Family.model_validate({"name": name, **_extended(name, described)})
        except ValidationError as error:
            raise UnsupportedArchitectureError(f"families/{name}.yml: {error}") from error
        by_type |= dict.fromkeys(family.model_types, family)
    return by_type


def family_of(config: dict[str, Any]) -> Family:
    """The family of a model from its ``config.json``.

    Raises UnsupportedArchitectureError naming the file that would add it.
    """
    model_type = config.get("model_type", "")
    if model_type not in families():
        raise UnsupportedArchitectureError(
            f"model_type {model_type!r} is not supported (known: {', '.join(sorted(families()))}). "
            f"To add it, describe it in src/birdbone/model/families/{model_type or 'NAME'}.yml"
        )
    return families()[model_type]


def supports_uneven(config: dict[str, Any]) -> bool:
    """Whether stock llama.cpp runs this family with widths that differ from layer to layer."""
    return family_of(config).gguf.uneven is not None


def _extended(name: str, described: dict[str, dict]) -> dict[str, Any]:
    """A file's content laid over that of the family it ``extends``; of ``gguf``, the block's names too."""
    own = described[name]
    if "extends" not in own:
        return own
    parent = _extended(own["extends"], described)
    block = {**parent["gguf"]["block"], **own.get("gguf", {}).get("block", {})}
    block = {module: name for module, name in block.items() if name is not None}
    gguf = {**parent["gguf"], **own.get("gguf", {}), "block": block}
    return {**parent, **{key: value for key, value in own.items() if key != "extends"}, "gguf": gguf}
