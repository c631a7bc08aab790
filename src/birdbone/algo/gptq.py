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


class Compensation(NamedTuple):
    """What a matrix's inputs say about rounding it, worked out once for all grids.

    order: columns [I] in the order of rounding; factor: upper Cholesky factor of the damped moment's
    inverse [I, I] and power: the moment's diagonal [I], both in that order.
    """

    order: Tensor
    factor: Tensor
    power: Tensor


def compensation(moment: Tensor, damping: float = 0.01, order: str = "natural") -> Compensation:
    """From the second moment of the inputs [I, I]; order: ``natural``, or ``power``, see ``activation_order``.

    Raises NumericalError when the damped moment cannot be factorized.
    """
    columns = activation_order(moment) if order == "power" else torch.arange(len(moment))
    moment = moment[columns][:, columns]
    return Compensation(columns, inverse_factor(moment, damping), moment.diagonal().clamp_min(1e-12))


def round_nearest(weight: Tensor, grid: Grid) -> Rounded:
    """llama.cpp's own rounding of a matrix [O, I], no calibration."""
    codes, scales = grid.reference(weight)
    return Rounded(codes, scales, grid.value(codes, scales.repeat_interleave(BLOCK, 1)))


def round_compensated(weight: Tensor, given: Compensation, grid: Grid, mask: Tensor | None = None) -> Rounded:
    """Round column by column, passing each column's error on to those still to come.

    Scales are fixed block by block, when the block is reached, on the weights as compensated so far;
    squared errors count by the inputs' power. mask: bool [O, I], False entries become exactly 0 (the
    grid must have a zero).
    """
    order, factor, power = given
    left = weight.float()[:, order]
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
                code = torch.where(mask[:, order[start + j]], code, zero)
            codes[:, start + j] = code
            errors[:, j] = (w[:, j] - grid.value(code, scale)) / u[j, j]
            w[:, j + 1 :] -= errors[:, j : j + 1] * u[j, j + 1 :]
        scales[:, start // BLOCK] = scale
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    back = order.argsort()
    codes, scales = codes[:, back], scales[:, back[::BLOCK] // BLOCK]
    return Rounded(codes, scales, grid.value(codes, scales.repeat_interleave(BLOCK, 1)))


def activation_order(moment: Tensor) -> Tensor:
    """Columns [I] in the order of rounding: the block with the most power first, so too within each block.

    What is rounded first has the most columns left to make up for it (``act_order`` of the GPTQ code). A block's
    columns stay together, for they share a scale.
    """
    power = moment.diagonal().view(-1, BLOCK)
    inner = power.argsort(dim=1, descending=True, stable=True)
    blocks = power.mean(1).argsort(dim=0, descending=True, stable=True)
    return (inner + BLOCK * torch.arange(len(power))[:, None])[blocks].flatten()


def masked(rounded: Rounded, mask: Tensor, grid: Grid) -> Rounded:
    """The rounding with every weight outside the mask [O, I] on the grid's zero."""
    zero = grid.nearest(torch.zeros(1), torch.ones(1))
    codes = torch.where(mask, rounded.codes, zero)
    return Rounded(codes, rounded.scales, torch.where(mask, rounded.weight, 0.0))


def round_best(
    weight: Tensor, given: list[Compensation], check: Tensor, grid: Grid, mask: Tensor | None = None
) -> Rounded:
    """Of one compensated rounding per order given and the nearest one, that of the least output error on ``check``."""
    nearest = round_nearest(weight, grid)
    found = [nearest if mask is None else masked(nearest, mask, grid)]
    found = [*(round_compensated(weight, g, grid, mask) for g in given), *found]
    return min(found, key=lambda r: output_error(r.weight - weight, check))
