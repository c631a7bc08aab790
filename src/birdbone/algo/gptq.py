"""Error-compensated rounding straight onto a GGUF grid, so that a standard file carries it.

GPTQ (Frantar et al. 2022, arXiv:2210.17323) with block scales searched from the seed's weights.
Legend: O rows (outputs), I columns (inputs), B = I / 32 blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from birdbone.algo.grids import BLOCK, Grid
from birdbone.algo.moments import output_error
from birdbone.algo.weight_masks import inverse_factor


class Rounded(NamedTuple):
    """Codes uint8 [O, I] and scales [O, B] on the grid, and the weights they stand for [O, I]."""

    codes: Tensor
    scales: Tensor
    weight: Tensor


def round_nearest(weight: Tensor, grid: Grid) -> Rounded:
    """llama.cpp's own rounding of a matrix [O, I], no calibration."""
    codes, scales = grid.reference(weight)
    return Rounded(codes, scales, grid.value(codes, scales.repeat_interleave(BLOCK, 1)))


def round_compensated(
    weight: Tensor, moment: Tensor, grid: Grid, damping: float = 0.01, mask: Tensor | None = None
) -> Rounded:
    """Round column by column, passing each column's error on to those still to come.

    moment: second moment of the inputs [I, I]. Scales are fixed block by block, when the block is
    reached, on the weights as compensated so far; squared errors count by the inputs' power.
    mask: bool [O, I], False entries become exactly 0 (the grid must have a zero).
    Raises NumericalError when the damped moment cannot be factorized.
    """
    left = weight.float().clone()
    factor = inverse_factor(moment, damping)
    power = moment.diagonal().clamp_min(1e-12)
    codes = torch.empty(left.shape, dtype=torch.uint8)
    scales = torch.empty(left.shape[0], left.shape[1] // BLOCK)
    zero = grid.nearest(torch.zeros(1), torch.ones(1)) if mask is not None else None
    for start in range(0, left.shape[1], BLOCK):
        stop = start + BLOCK
        w, u = left[:, start:stop], factor[start:stop, start:stop]
        scale = grid.scales(w, power[start:stop].expand_as(w) / power[start:stop].mean())
        errors = torch.empty_like(w)
        for j in range(BLOCK):
            code = grid.nearest(w[:, j], scale)
            if mask is not None:
                code = torch.where(mask[:, start + j], code, zero)
            codes[:, start + j] = code
            errors[:, j] = (w[:, j] - grid.value(code, scale)) / u[j, j]
            w[:, j + 1 :] -= errors[:, j : j + 1] * u[j, j + 1 :]
        scales[:, start // BLOCK] = scale
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    return Rounded(codes, scales, grid.value(codes, scales.repeat_interleave(BLOCK, 1)))


def masked(rounded: Rounded, mask: Tensor, grid: Grid) -> Rounded:
    """The rounding with every weight outside the mask [O, I] on the grid's zero."""
    zero = grid.nearest(torch.zeros(1), torch.ones(1))
    codes = torch.where(mask, rounded.codes, zero)
    return Rounded(codes, rounded.scales, torch.where(mask, rounded.weight, 0.0))


def round_best(
    weight: Tensor, moment: Tensor, check: Tensor, grid: Grid, damping: float = 0.01, mask: Tensor | None = None
) -> Rounded:
    """The compensated rounding, or the nearest one where that has the lower held-out output error."""
    compensated = round_compensated(weight, moment, grid, damping, mask)
    nearest = round_nearest(weight, grid)
    nearest = nearest if mask is None else masked(nearest, mask, grid)
    errors = [output_error(r.weight - weight, check) for r in (compensated, nearest)]
    return compensated if errors[0] <= errors[1] else nearest
