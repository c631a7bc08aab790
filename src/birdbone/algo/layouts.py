"""Where the bits of codes and scales lie in a GGUF tensor: ggml-common.h's structs as data.

Legend: N units (what ggml calls a block or super-block), numbers uint8 [N, K].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Field(NamedTuple):
    """Bytes of a unit that hold some bits of all its numbers.

    of: ``codes``, ``steps`` (whole-number scales) or ``scale`` (one float16). low and bits: which
    bits of each number. The numbers are cut into ``groups``; in each group 8 / bits runs of numbers
    share the same bytes, the first run in the lowest bits. plus: what is added to a number before
    it is stored.
    """

    of: str
    bits: int = 8
    groups: int = 1
    low: int = 0
    plus: int = 0

    def pack(self, numbers: Tensor) -> Tensor:
        """uint8 [N, K] -> [N, K * bits / 8]."""
        if self.of == "scale":
            return numbers
        part = ((numbers + self.plus) >> self.low) & (2**self.bits - 1)
        runs = part.view(len(part), self.groups, 8 // self.bits, -1) << self._shifts
        return runs.sum(2, dtype=torch.uint8).flatten(1)

    def unpack(self, packed: Tensor) -> Tensor:
        """The inverse of ``pack`` for these bits: [N, K * bits / 8] -> [N, K], the other bits 0."""
        if self.of == "scale":
            return packed
        runs = packed.view(len(packed), self.groups, 1, -1) >> self._shifts
        return ((runs.flatten(1) & (2**self.bits - 1)) << self.low) - self.plus

    @property
    def _shifts(self) -> Tensor:
        return torch.arange(0, 8, self.bits, dtype=torch.uint8)[:, None]


SCALE = Field("scale")
LAYOUTS: dict[str, tuple[Field, ...]] = {
    "Q4_0": (SCALE, Field("codes", 4)),
    "IQ4_NL": (SCALE, Field("codes", 4)),
    "Q5_0": (SCALE, Field("codes", 1, groups=4, low=4), Field("codes", 4)),
    "Q8_0": (SCALE, Field("codes", plus=-127)),
    "Q3_K": (
        Field("codes", 1, low=2),
        Field("codes", 2, groups=2),
        Field("steps", 4),
        Field("steps", 2, low=4),
        SCALE,
    ),
    "IQ4_XS": (
        SCALE,
        Field("steps", 2, groups=2, low=4),
        Field("steps", 4, groups=4),
        Field("codes", 4, groups=8),
    ),
    "Q6_K": (
        Field("codes", 4, groups=2),
        Field("codes", 2, groups=2, low=4),
        Field("steps", plus=-128),
        SCALE,
    ),
}


def pack(name: str, numbers: dict[str, Tensor]) -> Tensor:
    """N units as uint8 [N, bytes], of ``codes`` [N, unit], ``steps`` [N, S], ``scale`` [N, 1]."""
    parts = {**numbers, "scale": numbers["scale"].half().view(torch.uint8)}
    return torch.cat([field.pack(parts[field.of]) for field in LAYOUTS[name]], 1)


def unpack(name: str, packed: Tensor, counts: dict[str, int]) -> dict[str, Tensor]:
    """The inverse of ``pack``. counts: how many codes and steps a unit has."""
    counts = {**counts, "scale": 2}
    numbers = {}
    start = 0
    for field in LAYOUTS[name]:
        stop = start + counts[field.of] * field.bits // 8
        part = field.unpack(packed[:, start:stop].contiguous())
        numbers[field.of] = numbers[field.of] | part if field.of in numbers else part
        start = stop
    return {**numbers, "scale": numbers["scale"].view(torch.float16).float()}
