"""Model families as data: which projections form a node, and what feeds what."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml

from birdbone.errors import UnsupportedArchitectureError

FOLDER = files("birdbone.model") / "architectures"


@dataclass(frozen=True)
class Architecture:
    """Names of one family's parts; see ``architectures/llama.yml`` for the meaning of each."""

    name: str
    model_types: tuple[str, ...]
    blocks: str
    block: str
    embedding: str
    final_norm: str
    head: str
    ffn: dict
    attention: dict
    norms: dict
    transposed: tuple[str, ...] = ()
    fused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What the names of all but the head begin with; files of the bare network leave it out."""
        return self.blocks.partition(".")[0]

    def part(self, layer: int, name: str) -> str:
        """Full module name of a block's part: ``part(0, "mlp.up_proj")``."""
        return f"{self.block.format(layer=layer)}.{name}"

    def ffn_inputs(self, layer: int) -> list[str]:
        """Modules whose rows are the layer's neurons."""
        return [self.part(layer, name) for name in self.ffn["inputs"]]

    def ffn_output(self, layer: int) -> str:
        """The module whose columns are the layer's neurons."""
        return self.part(layer, self.ffn["output"])

    def attention_part(self, layer: int, which: str) -> str:
        """Module of ``query``, ``key``, ``value`` or ``output``."""
        return self.part(layer, self.attention[which])

    def linears(self, layer: int) -> list[str]:
        """Every linear module of one block, in the order of the data's flow."""
        attention = [self.attention_part(layer, w) for w in ("query", "key", "value", "output")]
        return [*attention, *self.ffn_inputs(layer), self.ffn_output(layer)]

    def inputs_of(self, layer: int) -> dict[str, list[str]]:
        """Linear modules grouped by the input they share, keyed by the group's first member."""
        query, key, value, output = self.linears(layer)[:4]
        ffn = self.ffn_inputs(layer)
        down = self.ffn_output(layer)
        return {query: [query, key, value], output: [output], ffn[0]: ffn, down: [down]}

    def ffn_width(self, config: dict) -> int:
        """Number of neurons per layer in the seed."""
        if config.get(self.ffn["width"]):
            return int(config[self.ffn["width"]])
        factor, key = self.ffn["width_default"].split(" * ")
        return int(factor) * int(config[key])

    def heads(self, config: dict) -> int:
        """Number of query heads per layer in the seed."""
        return int(config[self.attention["heads"]])

    def kv_heads(self, config: dict) -> int:
        """Number of key-value groups per layer in the seed."""
        return int(config.get(self.attention["kv_heads"]) or self.heads(config))

    def head_size(self, config: dict) -> int:
        """Width of one head."""
        hidden = int(config.get("hidden_size") or config["n_embd"])
        return int(config.get("head_dim") or hidden // self.heads(config))


@cache
def architectures() -> dict[str, Architecture]:
    """Every known family, keyed by ``model_type``."""
    raw = {f.name[:-4]: yaml.safe_load(f.read_text()) for f in FOLDER.iterdir() if f.name.endswith(".yml")}
    known = {}
    for name, data in raw.items():
        data = {**raw[data.pop("extends")], **data} if "extends" in data else data
        data["fused"] = {k: tuple(v) for k, v in data.get("fused", {}).items()}
        for key in ("model_types", "transposed"):
            data[key] = tuple(data.get(key, ()))
        family = Architecture(name=name, **data)
        known |= dict.fromkeys(family.model_types, family)
    return known


def architecture_of(config: dict) -> Architecture:
    """The family of a model from its ``config.json``.

    Raises UnsupportedArchitectureError naming the file that would add it.
    """
    kind = config.get("model_type", "")
    if kind not in architectures():
        known = ", ".join(sorted(architectures()))
        raise UnsupportedArchitectureError(
            f"model_type {kind!r} is not supported (known: {known}). To add it, describe its "
            f"projections in src/birdbone/model/architectures/{kind or 'NAME'}.yml"
        )
    return architectures()[kind]
