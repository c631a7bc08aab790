"""Model families as data, a file each in ``families/``: both halves, PyTorch's names and
llama.cpp's.
"""

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
    """The feed-forward network: modules of a block, and the configuration's key of its width.

    doubled: the key of a switch: twice as wide where a layer reuses another's keys and values.
    """

    inputs: tuple[str, ...]
    output: str
    width: str
    width_default: str | None = None
    doubled: str | None = None


class Switch(_Part):
    """A configuration's key that is on or off, for the layers of one kind."""

    key: str
    kind: str


class Attention(_Part):
    """Attention: modules of a block, and the configuration's keys of its heads.

    fixed: no head can go. gated: behind each head's query rows stand as many of its gate.
    per_layer: the key of what single layers have of their own. reusing: the key of how many last
    layers have no keys and values of their own. values_are_keys: there is no value module.
    """

    query: str
    key: str
    value: str
    output: str
    heads: str
    kv_heads: str
    fixed: bool = False
    gated: bool = False
    per_layer: str | None = None
    reusing: str | None = None
    values_are_keys: Switch | None = None


class LinearAttention(_Part):
    """What layers of one kind have in place of attention: matrices on its norm, and its outgoing
    one.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str


class Side(_Part):
    """Further matrices of a block, each on an input of its own; the configuration's key that is 0
    without them.
    """

    key: str
    linears: tuple[str, ...]


class Kinds(_Part):
    """Layers of several kinds: the configuration's key that lists them, and those that must be
    among them.
    """

    key: str
    needed: tuple[str, ...]


class Norms(_Part):
    """Norms of a block: those whose output attention and network read (None: there is none), and
    all others.

    offset: what is added to the weights of every norm named here, of the head norms and of the
    final one.
    """

    attention: str | None = None
    ffn: str | None = None
    after: tuple[str, ...] = ()
    offset: float = 0


class HeadNorms(_Part):
    """Norms of query and key: over each head, or over all heads at once. value: of the values too,
    without weights.
    """

    query: str
    key: str
    over: Literal["head", "all"] = "head"
    value: bool = False


class Activation(_Part):
    """The one activation that llama.cpp computes: the configuration's key and its value."""

    key: str
    value: str


class Unrotated(_Part):
    """Layers without rotary positions: the configuration's key (0 in its list: none), and which
    llama.cpp takes.
    """

    key: str
    every: int


class Sections(_Part):
    """How many rotary pairs turn by time, height and width: the configuration's key, and what holds
    without it.
    """

    key: str
    default: tuple[int, ...]


class Tiled(_Part):
    """Heads that llama.cpp keeps in another order: first each group's first head, then each group's
    second.

    heads, groups, size: keys of their counts and of a head's size. rows: parts whose last rows are
    heads of that size; columns: the same of columns; single: parts with one entry to a head.
    """

    heads: str
    groups: str
    size: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    single: tuple[str, ...]


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
    rope_types: tuple[str, ...] = ()
    partial_rotary: bool = False
    rope_sections: Sections | None = None
    unrotated: Unrotated | None = None
    windowed: bool = False
    window_sizes: bool = False
    softcap: bool = False
    recurrent: str | None = None
    equal: dict[str, str] = {}
    products: dict[str, tuple[str, str]] = {}
    float32: tuple[str, ...] = ()
    tensors: dict[str, str] = {}
    decays: tuple[str, ...] = ()
    tiled: Tiled | None = None

    @property
    def asked(self) -> set[str]:
        """The configuration's keys that every file's GGUF keys are made of."""
        products = [key for keys in self.products.values() for key in keys]
        return {self.activation.key, *self.sizes.values(), *self.floats.values(), *products}

    def pairs(self, arch: str) -> bool:
        """Whether an architecture, the family's own or its uneven one, wants rotary pairs side by
        side.
        """
        return self.paired if arch == self.arch else arch in UNEVEN_PAIRED

    def names(self, arch: str) -> dict[str, str]:
        """A block's modules -> their names in an architecture, the family's own or its uneven
        one.
        """
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
    linear_attention: LinearAttention | None = None
    side: Side | None = None
    kinds: Kinds | None = None
    kept: tuple[str, ...] = ()
    outer: tuple[str, ...] = ()
    outer_kept: tuple[str, ...] = ()
    refused: dict[str, bool | str] = {}
    needs: dict[str, str] = {}
    vocabulary: tuple[str, ...] = ()
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
    """Every family by ``model_type``. Raises UnsupportedArchitectureError naming a file that is not
    whole.
    """
    described = {
        f.name.removesuffix(".yml"): yaml.safe_load(f.read_text())
        for f in sorted(FOLDER.iterdir(), key=str)
    }
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
    """Whether stock llama.cpp runs this model with widths that differ from layer to layer."""
    form = family_of(config).gguf
    return form.uneven == form.arch or (form.uneven is not None and not rotates_a_part(config))


def rotates_a_part(config: dict[str, Any]) -> bool:
    """Whether rotary positions turn only the first features of each head, all layers alike."""
    rope = config.get("rope_parameters") or {}
    return rope.get("partial_rotary_factor", 1.0) != 1.0


def _extended(name: str, described: dict[str, dict]) -> dict[str, Any]:
    """A file's content laid over that of the family it ``extends``."""
    own = described[name]
    if "extends" not in own:
        return own
    parent = _extended(own["extends"], described)
    return _laid_over(parent, {key: value for key, value in own.items() if key != "extends"})


def _laid_over(parent: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Mappings key by key, null taking a key away; all else replaces."""
    merged = dict(parent)
    for key, value in own.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _laid_over(merged[key], value)
        else:
            merged[key] = value
    return merged
