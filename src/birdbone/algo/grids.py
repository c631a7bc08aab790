"""GGUF's block grids: the weights of a block share one scale, each weight is scale * level.

A code is the position of a level in the grid, 0 ... len(levels) - 1. A block's scale is a 16-bit
number. Where blocks lie in units (ggml's super-blocks), it is a whole number of steps of its unit's
16-bit scale.
Shapes: R rows, C columns, B = C / block blocks per row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import torch
from torch import Tensor

from birdbone.algo import ggml, layouts

BLOCK = 32
"""Columns that every grid of plain blocks divides."""
STEPS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
FINE = 16
CHUNK = 16384
"""Blocks whose scales are searched at once."""


@dataclass(frozen=True)
class Grid:
    """One ggml type. levels: the values a weight may take before its block's scale.

    block: weights that share a scale. unit: weights whose ``unit_bytes`` lie together; rows are
    multiples of it. least_step: where the unit has the 16-bit scale, the most negative number of
    steps that a block's scale may be.
    """

    name: str
    ggml_type: int
    unit_bytes: int
    levels: tuple[int, ...]
    block: int = BLOCK
    unit: int = BLOCK
    least_step: int | None = None

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight in a file, the scales' share included."""
        return self.unit_bytes * 8 / self.unit

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row in a file."""
        return columns // self.unit * self.unit_bytes

    def fits(self, columns: int) -> bool:
        """Whether rows of so many columns can be stored."""
        return columns % self.unit == 0

    @property
    def has_zero(self) -> bool:
        """Whether a weight can be exactly 0 while its block's scale is not."""
        return 0 in self.levels

    def nearest(self, values: Tensor, scale: Tensor) -> Tensor:
        """Codes (uint8) of the levels nearest to values / scale; the shapes broadcast."""
        return self.codes(self.snapped(values / inverse_safe(scale)))

    def snapped(self, scaled: Tensor) -> Tensor:
        """The levels (float32) nearest to values divided by their scale. Overwrites the values."""
        if self._even:
            return scaled.round_().clamp_(self.levels[0], self.levels[-1])
        last = len(self._table) - 1
        place = scaled.sub_(self.levels[0]).mul_(FINE).clamp_(0, last).to(torch.int32)
        table = self._table.to(place.device)
        return table.index_select(0, place.flatten()).view(place.shape)  # the fastest look-up

    def codes(self, levels: Tensor) -> Tensor:
        """Positions (uint8) of levels in the grid."""
        if self._even:
            return (levels - self.levels[0]).to(torch.uint8)
        return torch.bucketize(levels, self._midpoints.to(levels.device)).to(torch.uint8)

    @cached_property
    def _even(self) -> bool:
        """Whether the levels are consecutive integers."""
        return len(self.levels) == self.levels[-1] - self.levels[0] + 1

    @cached_property
    def _levels(self) -> Tensor:
        return torch.tensor(self.levels, dtype=torch.float32)

    @cached_property
    def _midpoints(self) -> Tensor:
        return (self._levels[1:] + self._levels[:-1]) / 2

    @cached_property
    def _table(self) -> Tensor:
        """The nearest level for every 1 / FINE step from the lowest level to the highest."""
        steps = torch.arange((self.levels[-1] - self.levels[0]) * FINE + 1) / FINE + self.levels[0]
        return self._levels[torch.bucketize(steps, self._midpoints, right=True)]

    def value(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Weights (float32) that a runtime sees for these codes; the shapes broadcast."""
        return self._levels.to(codes.device)[codes.long()] * scale.float()

    def weights(self, codes: Tensor, scales: Tensor) -> Tensor:
        """The same of a matrix: codes [R, C], scales [R, B] -> [R, C]."""
        return self.value(codes, scales.repeat_interleave(self.block, dim=1))

    def scales(self, blocks: Tensor, weights: Tensor | None = None) -> Tensor:
        """The best scale of each block, unrounded: [N, block] -> float32 [N].

        Tries scales that put the block's largest weight on or near either end of the grid,
        refits each by (weighted) least squares, and keeps the one with the least squared error.
        weights: [N, block], importance of each squared error; equal where not given.
        """
        weights = torch.ones((), device=blocks.device) if weights is None else weights.float()
        chunks = blocks.float().split(CHUNK)
        importance = weights.split(CHUNK) if weights.dim() else repeat(weights)
        pairs = zip(chunks, importance, strict=False)
        return torch.cat([self._searched(part, w) for part, w in pairs])

    def _searched(self, blocks: Tensor, weights: Tensor) -> Tensor:
        levels = self.snapped(blocks / inverse_safe(self._guesses(_largest(blocks))[:, :, None]))
        along = (blocks * weights * levels).sum(-1)
        power = (weights * levels.square()).sum(-1)
        return _best_fit(along, power)

    def representable(self, scales: Tensor) -> Tensor:
        """The nearest scales [R, B] (float32) that a file can hold."""
        if self.least_step is None:
            return scales.half().float()
        steps, scale = self._steps(scales)
        return (steps * scale).view_as(scales)

    def _steps(self, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Steps [N, blocks of a unit] and the unit's scale [N, 1].

        The block of the largest scale has the least step, so that representable scales give the
        same steps again.
        """
        units = scales.float().reshape(-1, self.unit // self.block)
        scale = (_largest(units) / self.least_step).half().float()[:, None]
        steps = (units / inverse_safe(scale)).round().clamp(self.least_step, -self.least_step - 1)
        most = units.abs().argmax(1, keepdim=True)
        return steps.scatter(1, most, torch.where(scale == 0, 0.0, float(self.least_step))), scale

    def reference(self, values: Tensor, importance: Tensor | None = None) -> Tensor:
        """GGUF's bytes of a matrix [R, C] by llama.cpp's own rounding.

        importance: [C] llama.cpp's importance matrix.
        """
        if not self.fits(values.shape[1]):
            raise ValueError(f"{self.name} needs rows of multiples of {self.unit}, not {values.shape[1]}")
        return ggml.quantized(values, self.ggml_type, self.row_bytes(values.shape[1]), importance)

    def pack(self, codes: Tensor, scales: Tensor) -> Tensor:
        """A matrix's bytes in GGUF: codes [R, C] and scales [R, B] -> uint8 [R, bytes].

        The scales must be representable.
        """
        numbers = {
            "codes": codes.reshape(-1, self.unit).to(torch.uint8),
            "scale": scales.reshape(-1, 1),
        }
        if self.least_step is not None:
            steps, numbers["scale"] = self._steps(scales)
            numbers["steps"] = (steps - self.least_step).to(torch.uint8)
        return layouts.pack(self.name, numbers).reshape(len(codes), -1)

    def unpack(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of ``pack``: uint8 [R, bytes] -> codes (uint8) [R, C], scales [R, B]."""
        counts = {"codes": self.unit, "steps": self.unit // self.block}
        numbers = layouts.unpack(self.name, packed.reshape(-1, self.unit_bytes), counts)
        scales = numbers["scale"]
        if self.least_step is not None:
            scales = scales * (numbers["steps"].float() + self.least_step)
        return numbers["codes"].reshape(len(packed), -1), scales.reshape(len(packed), -1)

    def dequantize(self, packed: Tensor) -> Tensor:
        """Weights (float32) that a runtime sees: uint8 [R, bytes] -> [R, C]."""
        return self.weights(*self.unpack(packed))

    def _guesses(self, largest: Tensor) -> Tensor:
        ends = (self.levels[0], self.levels[-1])
        share = abs(self.levels[0]) / 16
        return torch.stack([largest / (end - step * math.copysign(share, end)) for end in ends for step in STEPS])


def _best_fit(along: Tensor, power: Tensor) -> Tensor:
    """The least-squares scale along / power of the best guess: [G, N] twice -> [N].

    0 where no guess explains anything.
    """
    gain = torch.where(power > 0, along.square() / power, 0.0)
    best, which = gain.max(0)
    scale = (along / power).gather(0, which[None])[0]
    return torch.where(best > 0, scale, 0.0)


def _largest(blocks: Tensor) -> Tensor:
    """The signed value of largest magnitude in each row: [N, K] -> [N]."""
    return blocks.gather(1, blocks.abs().argmax(1, keepdim=True)).squeeze(1)


def inverse_safe(scale: Tensor) -> Tensor:
    """Zero scales become infinite, so that their inverse is 0."""
    return torch.where(scale == 0, torch.inf, scale)


IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
GRIDS: dict[str, Grid] = {
    grid.name: grid
    for grid in (
        Grid("Q3_K", 11, 110, tuple(range(-4, 4)), block=16, unit=256, least_step=-32),
        Grid("IQ4_XS", 23, 136, IQ4_LEVELS, unit=256, least_step=-32),
        Grid("Q4_0", 2, 18, tuple(range(-8, 8))),
        Grid("IQ4_NL", 20, 18, IQ4_LEVELS),
        Grid("Q5_0", 6, 22, tuple(range(-16, 16))),
        Grid("Q6_K", 14, 210, tuple(range(-32, 32)), block=16, unit=256, least_step=-128),
        Grid("Q8_0", 8, 34, tuple(range(-127, 128))),
    )
}


def fitting(types: Iterable[str], columns: int) -> list[str]:
    """Those of the types that can hold rows of so many columns."""
    return [t for t in types if GRIDS[t].fits(columns)]


def fewest_bits(types: Iterable[str], columns: int = BLOCK) -> float:
    """Bits per weight of the smallest type for rows of so many columns; F16's where none fits."""
    return min((GRIDS[t].bits_per_weight for t in fitting(types, columns)), default=16.0)
