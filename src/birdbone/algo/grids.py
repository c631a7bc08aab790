"""GGUF's block grids: 32 weights of a row share one 16-bit scale, each weight is scale * level.

A code is the position of a level in the grid, 0 ... len(levels) - 1. Layouts are those of ggml
(``block_q4_0``, ``block_iq4_nl``, ``block_q5_0``, ``block_q8_0`` in ggml-common.h), bit for bit.
Shapes: R rows, C columns, B = C / 32 blocks per row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import torch
from torch import Tensor

BLOCK = 32
SEARCH = range(-7, 8)
STEPS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
FINE = 16
LEAST = 1e-15
CHUNK = 16384
"""Blocks whose scales are searched at once."""


@dataclass(frozen=True)
class Grid:
    """One ggml type. levels: the values a weight may take before its block's scale."""

    name: str
    ggml_type: int
    block_bytes: int
    levels: tuple[int, ...]

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight in a file, the scale's share included."""
        return self.block_bytes * 8 / BLOCK

    @property
    def has_zero(self) -> bool:
        """Whether a weight can be exactly 0 while its block's scale is not."""
        return 0 in self.levels

    @cached_property
    def _levels(self) -> Tensor:
        return torch.tensor(self.levels, dtype=torch.float32)

    @cached_property
    def _midpoints(self) -> Tensor:
        return (self._levels[1:] + self._levels[:-1]) / 2

    def nearest(self, values: Tensor, scale: Tensor) -> Tensor:
        """Codes (uint8) of the levels nearest to values / scale; the shapes broadcast."""
        scaled = values / _inverse_safe(scale)
        if self._even:
            return scaled.round_().clamp_(self.levels[0], self.levels[-1]).sub_(self.levels[0]).to(torch.uint8)
        return self._look_up(self._table, scaled)

    def _snapped(self, values: Tensor, scale: Tensor) -> Tensor:
        """The levels themselves (float32) whose codes ``nearest`` gives."""
        scaled = values / _inverse_safe(scale)
        if self._even:
            return scaled.round_().clamp_(self.levels[0], self.levels[-1])
        return self._look_up(self._level_table, scaled)

    def _look_up(self, table: Tensor, scaled: Tensor) -> Tensor:
        """Entries of a table of 1 / FINE steps at ``scaled``, which is overwritten. index_select is the fastest way."""
        place = scaled.sub_(self.levels[0]).mul_(FINE).clamp_(0, len(table) - 1).to(torch.int32)
        return table.to(place.device).index_select(0, place.flatten()).view(place.shape)

    @cached_property
    def _even(self) -> bool:
        """Whether the levels are consecutive integers."""
        return len(self.levels) == self.levels[-1] - self.levels[0] + 1

    @cached_property
    def _table(self) -> Tensor:
        """Code of the nearest level for every 1 / FINE step from the lowest level to the highest."""
        steps = torch.arange((self.levels[-1] - self.levels[0]) * FINE + 1) / FINE + self.levels[0]
        return torch.bucketize(steps, self._midpoints, right=True).to(torch.uint8)

    @cached_property
    def _level_table(self) -> Tensor:
        return self._levels[self._table.long()]

    def value(self, codes: Tensor, scale: Tensor) -> Tensor:
        """Weights (float32) that a runtime sees for these codes; the shapes broadcast."""
        return self._levels.to(codes.device)[codes.long()] * scale.float()

    def scales(self, blocks: Tensor, weights: Tensor | None = None) -> Tensor:
        """The best scale of each block (float32 holding a float16 value): [N, 32] -> [N].

        Tries scales that put the block's largest weight on or near either end of the grid,
        refits each by (weighted) least squares, and keeps the one with the least squared error.
        weights: [N, 32], importance of each squared error; equal where not given.
        """
        weights = torch.ones((), device=blocks.device) if weights is None else weights.float()
        given = weights.split(CHUNK) if weights.dim() else repeat(weights)
        return torch.cat([self._searched(part, w) for part, w in zip(blocks.float().split(CHUNK), given, strict=False)])

    def _searched(self, blocks: Tensor, weights: Tensor) -> Tensor:
        levels = self._snapped(blocks, self._guesses(_largest(blocks))[:, :, None])
        along, power = (blocks * weights * levels).sum(-1), (weights * levels.square()).sum(-1)
        return _best_fit(along, power).half().float()

    def reference(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """llama.cpp's own rounding without an importance matrix: codes [R, C], scales [R, B]."""
        blocks = values.float().reshape(-1, BLOCK)
        if self.name == "Q8_0":
            scale = _inverse_safe(blocks.abs().amax(1) / 127)
            scaled = blocks * (1 / scale)[:, None]
            codes = (scaled.sign() * (scaled.abs() + 0.5).floor()).clamp(-127, 127) + 127
        elif self.name == "IQ4_NL":
            scale = self._iq4_nl_scale(blocks)
            codes = self.nearest(blocks, scale[:, None])
        else:
            half = -self.levels[0]
            scale = _inverse_safe(_largest(blocks) / -half)
            codes = (blocks * (1 / scale)[:, None] + (half + 0.5)).floor().clamp(0, 2 * half - 1)
        scale = torch.where(scale.isinf(), 0, scale).half().float()
        return codes.to(torch.uint8).reshape(values.shape), scale.reshape(values.shape[0], -1)

    def pack(self, codes: Tensor, scales: Tensor) -> Tensor:
        """GGUF's bytes of a matrix: codes [R, C], scales [R, B] -> uint8 [R, B * block_bytes]."""
        rows = codes.shape[0]
        codes = codes.reshape(-1, BLOCK).to(torch.uint8)
        parts = [scales.reshape(-1, 1).half().view(torch.uint8)]
        if self.name == "Q8_0":
            parts.append(codes - 127)
        else:
            if self.name == "Q5_0":
                bits = (codes >> 4).reshape(-1, 4, 8) << torch.arange(8, dtype=torch.uint8)
                parts.append(bits.sum(2, dtype=torch.uint8))
            low, high = (codes & 15).split(BLOCK // 2, dim=1)
            parts.append(low | (high << 4))
        return torch.cat(parts, dim=1).reshape(rows, -1)

    def unpack(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of ``pack``: uint8 [R, bytes] -> codes (uint8) [R, C], scales [R, B]."""
        rows = packed.shape[0]
        blocks = packed.reshape(-1, self.block_bytes)
        scales = blocks[:, :2].contiguous().view(torch.float16).float()
        if self.name == "Q8_0":
            codes = blocks[:, 2:] + 127
        else:
            nibbles = blocks[:, -BLOCK // 2 :]
            codes = torch.cat([nibbles & 15, nibbles >> 4], dim=1)
        if self.name == "Q5_0":
            bits = (blocks[:, 2:6, None] >> torch.arange(8, dtype=torch.uint8)) & 1
            codes = codes | (bits.reshape(-1, BLOCK) << 4)
        return codes.reshape(rows, -1), scales.reshape(rows, -1)

    def dequantize(self, packed: Tensor) -> Tensor:
        """Weights (float32) that a runtime sees: uint8 [R, bytes] -> [R, C]."""
        codes, scales = self.unpack(packed)
        return self.value(codes, scales.repeat_interleave(BLOCK, dim=1))

    def _guesses(self, largest: Tensor) -> Tensor:
        ends = (self.levels[0], self.levels[-1])
        share = abs(self.levels[0]) / 16
        return torch.stack([largest / (end - step * math.copysign(share, end)) for end in ends for step in STEPS])

    def _iq4_nl_scale(self, blocks: Tensor) -> Tensor:
        """quantize_row_iq4_nl_impl of ggml-quants.c: weights x^2, 16 starting scales."""
        largest = _largest(blocks)
        first = self.levels[0]
        starts = torch.stack([largest / -first, *(largest / (first + step) for step in SEARCH)])
        best = torch.empty_like(largest)
        for rows in torch.arange(len(blocks)).split(CHUNK):
            levels = self._snapped(blocks[rows], starts[:, rows, None])
            along = (blocks[rows].square() * levels * blocks[rows]).sum(-1)
            best[rows] = _best_fit(along, (blocks[rows].square() * levels.square()).sum(-1))
        return torch.where(largest.abs() < LEAST, 0, best)


def _best_fit(along: Tensor, power: Tensor) -> Tensor:
    """The least-squares scale along / power of the guess that explains most: [G, N] twice -> [N]; 0 where none does."""
    gain = torch.where(power > 0, along.square() / power, 0.0)
    best, which = gain.max(0)
    scale = (along / power).gather(0, which[None])[0]
    return torch.where(best > 0, scale, 0.0)


def _largest(blocks: Tensor) -> Tensor:
    """The signed value of largest magnitude in each block: [N, 32] -> [N]."""
    return blocks.gather(1, blocks.abs().argmax(1, keepdim=True)).squeeze(1)


def _inverse_safe(scale: Tensor) -> Tensor:
    """Zero scales become infinite, so that their inverse is 0."""
    return torch.where(scale == 0, torch.inf, scale)


IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
GRIDS: dict[str, Grid] = {
    grid.name: grid
    for grid in (
        Grid("Q4_0", 2, 18, tuple(range(-8, 8))),
        Grid("IQ4_NL", 20, 18, IQ4_LEVELS),
        Grid("Q5_0", 6, 22, tuple(range(-16, 16))),
        Grid("Q8_0", 8, 34, tuple(range(-127, 128))),
    )
}


def fewest_bits(types: list[str]) -> float:
    """Bits per weight of the smallest of these types."""
    return min(GRIDS[t].bits_per_weight for t in types)
