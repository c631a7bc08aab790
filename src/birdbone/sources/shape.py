"""What decides a run's cost: a model's shapes, read without its weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from birdbone.model.layout import Layout
from birdbone.model.network import stock_network
from birdbone.sources.load import config_of


@dataclass(frozen=True)
class ModelShape:
    """What decides a run's cost. rows: input width -> matrices; inner: -> block weights; square: of
    the input widths of all block matrices, summed; neurons: weights in FFNs.
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
    def flops(self) -> int:
        """Operations that one token takes on its way forward: two for each weight of a matrix."""
        return 2 * (self.block + self.outer)

    @property
    def hidden(self) -> int:
        """Features between the layers."""
        return int(self.config.get("hidden_size") or self.config.get("n_embd") or min(self.rows))

    @property
    def bytes_f16(self) -> int:
        """Of all tensors in half precision."""
        return 2 * self.parameters


def model_shape(source: dict) -> ModelShape:
    """Shapes of a model without its weights. Raises what ``sources.load`` would, where it can be
    known so early.
    """
    config = config_of(source)
    layout = Layout(config)
    with torch.device("meta"):
        model = stock_network(config)
    named = dict(model.named_parameters())
    turned = {f"{name}.weight" for name in layout.transposed}
    matrices = {n: tuple(p.shape)[:: -1 if n in turned else 1] for n, p in named.items() if p.dim() == 2}
    stored = model.state_dict().keys()
    others = [p for p in named.values() if p.dim() != 2]
    others += [buffer for name, buffer in model.named_buffers() if name in stored]
    vectors = sum(tensor.numel() for tensor in others)
    layers = layout.layers
    block = {n: s for n, s in matrices.items() if n.startswith(f"{layout.family.blocks}.")}
    rows, within = Counter(shape[1] for shape in matrices.values()), Counter()
    for shape in block.values():
        within[shape[1]] += shape[0] * shape[1]
    size, blocks = sum(a * b for a, b in matrices.values()), within.total()
    neurons = sum(a * b for n, (a, b) in block.items() if "mlp" in n)
    square = sum(columns * columns for _, columns in block.values())
    return ModelShape(config, size + vectors, blocks, size - blocks, layers, dict(rows), dict(within), square, neurons)
