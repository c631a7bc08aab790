"""Error-compensated rounding straight onto a GGUF grid, so that a standard file carries it.

GPTQ (Frantar et al. 2022, arXiv:2210.17323) with block scales searched from the seed's weights, then
scales refitted to the codes and codes to the scales (``refine``).
Legend: O rows (outputs), I columns (inputs), B = I / 32 blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from birdbone.algo.grids import BLOCK, Grid
from birdbone.algo.moments import damped, inverse_factor, output_error

AT_ONCE = 1 << 25
"""Numbers held at once while scales are refitted."""
RIDGE = 1e-6


class Rounded(NamedTuple):
    """Codes uint8 [O, I] and scales [O, B] on the grid, and the weights they stand for [O, I]."""

    codes: Tensor
    scales: Tensor
    weight: Tensor


class Compensation(NamedTuple):
    """What a matrix's inputs say about rounding it, worked out once for all grids.

    moment: the damped moment [I, I]; order: columns [I] in the order of rounding; factor: upper Cholesky
    factor of the damped moment's inverse [I, I] and power: the moment's diagonal [I], both in that order.
    """

    moment: Tensor
    order: Tensor
    factor: Tensor
    power: Tensor

    def scaled(self, columns: Tensor) -> Compensation:
        """The same of inputs divided by ``columns`` [I], without factorizing again."""
        ordered = columns[self.order]
        moment = self.moment / columns / columns[:, None]
        return Compensation(moment, self.order, self.factor * ordered, self.power / ordered.square())


def compensation(moment: Tensor, damping: float = 0.01, order: str = "natural") -> Compensation:
    """From the second moment of the inputs [I, I]; order: ``natural``, or ``power``, see ``activation_order``.

    Raises NumericalError when the damped moment cannot be factorized.
    """
    columns = activation_order(moment) if order == "power" else torch.arange(len(moment))
    ordered = moment[columns][:, columns]
    power = ordered.diagonal().clamp_min(1e-12)
    return Compensation(damped(moment, damping), columns, inverse_factor(ordered, damping), power)


def round_nearest(weight: Tensor, grid: Grid) -> Rounded:
    """llama.cpp's own rounding of a matrix [O, I], no calibration."""
    codes, scales = grid.reference(weight)
    return Rounded(codes, scales, grid.value(codes, scales.repeat_interleave(BLOCK, 1)))


def round_searched(weight: Tensor, grid: Grid) -> Rounded:
    """Each weight [O, I] to its nearest level, every block with the scale of the least squared error."""
    scales = grid.scales(weight.float().reshape(-1, BLOCK)).view(len(weight), -1)
    wide = scales.repeat_interleave(BLOCK, 1)
    codes = grid.nearest(weight.float(), wide)
    return Rounded(codes, scales, grid.value(codes, wide))


def round_compensated(weight: Tensor, given: Compensation, grid: Grid, mask: Tensor | None = None) -> Rounded:
    """Round column by column, passing each column's error on to those still to come.

    Scales are fixed block by block, when the block is reached, on the weights as compensated so far;
    squared errors count by the inputs' power. mask: bool [O, I], False entries become exactly 0 (the
    grid must have a zero).
    """
    _, order, factor, power = given
    left = weight.float()[:, order]
    codes = torch.empty(left.shape[::-1], dtype=torch.uint8)  # [I, O]: a column at a time, so columns lie together
    scales = torch.empty(left.shape[0], left.shape[1] // BLOCK)
    zero = grid.nearest(torch.zeros(1), torch.ones(1)) if mask is not None else None
    for start in range(0, left.shape[1], BLOCK):
        stop = start + BLOCK
        w, u = left[:, start:stop].T.contiguous(), factor[start:stop, start:stop]
        scale = grid.scales(w.T, power[start:stop].expand(w.T.shape) / power[start:stop].mean())
        errors = torch.empty_like(w)
        for j in range(BLOCK):
            code = grid.nearest(w[j], scale)
            if mask is not None:
                code = torch.where(mask[:, order[start + j]], code, zero)
            codes[start + j] = code
            errors[j] = (w[j] - grid.value(code, scale)) / u[j, j]
            w[j + 1 :] -= u[j, j + 1 :, None] * errors[j]
        scales[:, start // BLOCK] = scale
        left[:, stop:] -= errors.T @ factor[start:stop, stop:]
    codes = codes.T
    back = order.argsort()
    codes, scales = codes[:, back], scales[:, back[::BLOCK] // BLOCK]
    return Rounded(codes, scales, grid.value(codes, scales.repeat_interleave(BLOCK, 1)))


def refine(weight: Tensor, rounded: Rounded, moment: Tensor, grid: Grid, mask: Tensor | None = None) -> Rounded:
    """The rounding with its codes gone over once more, and then its scales refitted.

    GPTQ never returns to a code, and fixes a block's scale before it knows what the columns to come will
    make of it. Both steps lower Σ_o ΔW_o M ΔW_oᵀ for the ``moment`` M [I, I]: codes one column at a time,
    nearest to what the rest of the row leaves to do, scales by least squares over all of a row's blocks.
    mask: as for ``round_compensated``.
    """
    return _rescaled(weight, _recoded(weight, rounded, moment, grid, mask), moment, grid)


def _rescaled(weight: Tensor, codes: Tensor, moment: Tensor, grid: Grid) -> Rounded:
    """The same codes with each row's scales from its normal equations [B, B], as 16-bit numbers."""
    blocks = codes.shape[1] // BLOCK
    levels = grid.value(codes, torch.ones(()))
    rows = max(1, AT_ONCE // (blocks * codes.shape[1]))
    scales = []
    for part, target in zip(levels.split(rows), weight.float().split(rows), strict=True):
        tiles = part.view(-1, blocks, BLOCK)
        through = torch.stack([tiles[:, b] @ moment[b * BLOCK : (b + 1) * BLOCK] for b in range(blocks)], 1)
        left = (through.view(-1, blocks, blocks, BLOCK) * tiles[:, None]).sum(-1)
        right = torch.einsum("obi,oi->ob", through, target)
        diagonal = left.diagonal(dim1=1, dim2=2)
        ridge = RIDGE * diagonal.mean(1, keepdim=True) + torch.where(diagonal > 0, 0.0, 1.0)
        scales.append(torch.linalg.solve(left + torch.diag_embed(ridge), right))
    found = torch.cat(scales).half().float()
    return Rounded(codes, found, levels * found.repeat_interleave(BLOCK, 1))


def _recoded(weight: Tensor, rounded: Rounded, moment: Tensor, grid: Grid, mask: Tensor | None) -> Tensor:
    """Codes after one sweep of coordinate descent over the columns, block by block; scales as they are."""
    codes, slope = rounded.codes.T.contiguous(), (rounded.weight - weight) @ moment  # codes: columns lie together
    power = moment.diagonal()
    for b in range(len(codes) // BLOCK):
        columns, scale = slice(b * BLOCK, (b + 1) * BLOCK), rounded.scales[:, b]
        tile, slopes = moment[columns, columns], slope[:, columns].T.contiguous()
        value = rounded.weight[:, columns].T.contiguous()
        change = torch.empty_like(value)
        for j in range(BLOCK):
            i = b * BLOCK + j
            code = grid.nearest(value[j] - slopes[j] / power[i], scale)
            if mask is not None:
                code = torch.where(mask[:, i], code, codes[i])
            change[j] = grid.value(code, scale) - value[j]
            slopes[j + 1 :] += tile[j, j + 1 :, None] * change[j]
            codes[i] = code
        slope += change.T @ moment[columns]
    return codes.T.contiguous()


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
    """Of the compensated roundings, one per order given, the same refined, and the plain one: that of the least
    output error on ``check``.
    """
    plain = round_searched(weight, grid)
    found = [plain if mask is None else masked(plain, mask, grid)]
    for each in given:
        rounded = round_compensated(weight, each, grid, mask)
        found += [rounded, refine(weight, rounded, each.moment, grid, mask)]
    return min(found, key=lambda r: output_error(r.weight - weight, check))
