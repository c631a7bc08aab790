"""What decides a run's cost: a model's shapes, read without its weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from birdbone.errors import SourceError
from birdbone.gguf.header import read_gguf_header
from birdbone.model.architecture import architecture_of


@dataclass(frozen=True)
class Shape:
    """What decides a run's cost. rows: input width -> matrices; inner: -> block weights; square: of the input
    widths of all block matrices, summed; neurons: weights in FFNs.
    """

    config: dict
    parameters: int
    block: int
    outer: int
    layers: int
    rows: dict[int, int]
    inner: dict[int, int]
    square: int
    neurons: int

    @property
    def bytes_f16(self) -> int:
        """Of all tensors in half precision."""
        return 2 * self.parameters


def shape_of(source: dict) -> Shape:
    """Shapes of a model without its weights. Raises SourceError where even those are out of reach."""
    if source["kind"] == "gguf":
        header = read_gguf_header(source["path"])
        matrices = {n: t.shape for n, t in header.tensors.items() if len(t.shape) == 2}
        kind = header.metadata.get("general.architecture", "llama")
        config, inner = {"model_type": kind}, lambda name: name.startswith("blk.")
        vectors = sum(t.shape[0] for t in header.tensors.values() if len(t.shape) == 1)
        layers = int(header.metadata.get(f"{kind}.block_count", 1))
    else:
        try:
            config = (
                source["config"]
                if source["kind"] == "random"
                else AutoConfig.from_pretrained(source.get("id") or source["path"]).to_dict()
            )
        except (OSError, ValueError) as error:
            raise SourceError(f"model {source['name']}: its config.json cannot be had ({error})") from error
        architecture = architecture_of(config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        named = dict(model.named_parameters())
        turned = tuple(f"{name}.weight" for name in architecture.transposed)  # no name ends with an empty tuple's
        matrices = {n: tuple(p.shape)[:: -1 if n.endswith(turned) else 1] for n, p in named.items() if p.dim() == 2}
        vectors = sum(p.numel() for p in named.values() if p.dim() == 1)
        layers, inner = len(model.get_submodule(architecture.blocks)), lambda name: name.startswith(architecture.blocks)
    block = {n: s for n, s in matrices.items() if inner(n)}
    rows, within = Counter(shape[1] for shape in matrices.values()), Counter()
    for shape in block.values():
        within[shape[1]] += shape[0] * shape[1]
    size, blocks = sum(a * b for a, b in matrices.values()), within.total()
    neurons = sum(a * b for n, (a, b) in block.items() if "mlp" in n or "ffn" in n)
    square = sum(columns * columns for _, columns in block.values())
    return Shape(config, size + vectors, blocks, size - blocks, layers, dict(rows), dict(within), square, neurons)
