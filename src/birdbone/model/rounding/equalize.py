"""One block's columns made equally large before rounding, where that rounds better; its function stays.

The inverse scales go where the columns' inputs come from: a norm's gain, the value projection's rows
behind the output projection, a gated network's up projection's rows behind the down projection.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from birdbone.algo.equalize import column_scales, rounding_errors
from birdbone.algo.gptq import Compensation
from birdbone.algo.grids import GRIDS, Grid, fitting
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Block

Named = dict[str, Tensor]
TINY = 1e-38


@dataclass
class Scales:
    """What multiplies a block's linear modules: ``columns`` and ``rows`` by module, and a norm's gain by its name."""

    columns: Named = field(default_factory=dict)
    rows: Named = field(default_factory=dict)
    norms: Named = field(default_factory=dict)

    def compensations(self, module: str, given: list[Compensation]) -> list[Compensation]:
        """What the inputs that the module reads now say about rounding it."""
        scale = self.columns.get(module)
        return given if scale is None else [g.scaled(scale) for g in given]

    def moment(self, module: str, moment: Tensor) -> Tensor:
        """The second moment [in, in] of what the module reads now."""
        scale = self.columns.get(module)
        return moment if scale is None else moment / scale / scale[:, None]

    def fisher(self, module: str, fisher: Tensor) -> Tensor:
        """The mean squared gradients [out] of what the module gives now."""
        scale = self.rows.get(module)
        return fisher if scale is None else fisher / scale.square()

    def changed(self, checkpoint: Checkpoint) -> Named:
        """Every weight, bias and gain that is another now, by its name."""
        offset = checkpoint.layout.family.norms.offset
        new: Named = {}
        for module in {*self.columns, *self.rows}:
            weight, bias = checkpoint.weights[f"{module}.weight"], checkpoint.weights.get(f"{module}.bias")
            rows = self.rows.get(module)
            if module in self.columns:
                weight = weight * self.columns[module]
            if rows is not None:
                weight = weight * rows[:, None]
                if bias is not None:
                    new[f"{module}.bias"] = bias * rows
            new[f"{module}.weight"] = weight
        for norm, scale in self.norms.items():
            gain, bias = checkpoint.weights[f"{norm}.weight"], checkpoint.weights.get(f"{norm}.bias")
            new[f"{norm}.weight"] = (gain + offset) * scale - offset
            if bias is not None:
                new[f"{norm}.bias"] = bias * scale
        return new


def equalize(
    checkpoint: Checkpoint, layer: int, given: dict[str, list[Compensation]], check: Named, types: list[str]
) -> Scales:
    """The scales of those of a block's matrices most of whose rows round better with them, on the coarsest type.

    given, check: by module, as for ``round_best``. Matrices that share an input share their scales. Some
    type must fit each matrix.
    """
    found = Scales()
    for feed in feeds(checkpoint, layer):
        weights = {m: checkpoint.weights[f"{m}.weight"].float() for m in feed.readers}
        grid = GRIDS[min(fitting(types, len(feed.columns)), key=lambda t: GRIDS[t].bits_per_weight)]
        power = sum(w.square().sum(0) for w in weights.values())
        scales = column_scales(power.new_zeros(feed.channels).index_add_(0, feed.columns, power))
        scaled = feed.scaled(scales)

        def errors(by: Scales, weights: Named = weights, grid: Grid = grid) -> Tensor:
            parts = [
                rounding_errors(
                    w * by.columns.get(m, 1.0), by.compensations(m, given[m])[0], by.moment(m, check[m]), grid
                )
                for m, w in weights.items()
            ]
            return torch.cat(parts).clamp_min(TINY).log()

        if (errors(scaled) - errors(Scales())).mean() < 0:
            found.columns |= scaled.columns
            found.rows |= scaled.rows
            found.norms |= scaled.norms
    return found


@dataclass(frozen=True)
class Feed:
    """Matrices that read the same columns, and what may take the inverse of their scales: a norm or a linear module.

    columns: the channel of the norm's or module's output that each column [in] reads, of ``channels``.
    """

    readers: list[str]
    norm: str | None
    module: str | None
    columns: Tensor
    channels: int

    def scaled(self, scales: Tensor) -> Scales:
        """The readers' columns times ``scales`` [channels], its inverse where they come from."""
        columns = {m: scales[self.columns] for m in self.readers}
        inverse = {self.norm or self.module: 1 / scales}
        return Scales(columns, {}, inverse) if self.norm else Scales(columns, inverse, {})


def feeds(checkpoint: Checkpoint, layer: int) -> list[Feed]:
    """A block's matrices by the input they share, where its channels may be scaled."""
    block = checkpoint.layout.blocks[layer]
    found = []
    for readers in block.inputs.values():
        norm, module = _source(block, readers)
        inputs = checkpoint.weights[f"{readers[0]}.weight"].shape[1]
        channels = len(checkpoint.weights[f"{module}.weight"]) if module else inputs
        columns = torch.arange(channels)
        if channels < inputs:  # several heads read one group's values
            columns = columns.view(-1, 1, block.head_size).expand(-1, inputs // channels, -1).flatten()
        if norm or module:
            found.append(Feed(readers, norm, module, columns, channels))
    return found


def _source(block: Block, readers: list[str]) -> tuple[str | None, str | None]:
    """What may take the inverse of the readers' scales: (a norm, or None; a linear module, or None)."""
    norms = block.family.norms
    if readers == block.attention_inputs:
        return norms.attention and block.part(norms.attention), None
    if readers == block.ffn_inputs:
        return norms.ffn and block.part(norms.ffn), None
    if readers == [block.output]:
        return None, block.value if _scales_reach_the_output(block) else None
    if readers == [block.ffn_output] and len(block.ffn_inputs) > 1:  # alone, it feeds through the activation
        return None, block.ffn_inputs[1]
    return None, None


def _scales_reach_the_output(block: Block) -> bool:
    """Whether a scale on the values comes out of attention as it went in: no norm between, no other layer reads it."""
    normed = block.family.head_norms is not None and block.family.head_norms.value
    return block.attends and not normed and not block.reuses and not block.is_reused
