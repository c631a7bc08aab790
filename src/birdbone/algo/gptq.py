"""Error-compensated rounding straight onto a GGUF grid, so that a standard file carries it.

GPTQ (Frantar et al. 2022, arXiv:2210.17323) with block scales searched from the seed's weights.
Then codes are refitted to the scales and scales to the codes (``refine``). Legend: O rows
(outputs), I columns (inputs), B = I / block blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from birdbone.algo.grids import Grid, inverse_safe
from birdbone.algo.moments import damped, inverse_factor, output_error

AT_ONCE = 1 << 25
"""Numbers in memory at once while scales are refitted."""
RIDGE = 1e-6


class Rounded(NamedTuple):
    """Codes uint8 [O, I] and scales [O, B] on the grid, and the weights they stand for [O, I]."""

    codes: Tensor
    scales: Tensor
    weight: Tensor


class Compensation(NamedTuple):
    """What a matrix's inputs say about rounding it, worked out once for all grids.

    moment: the damped moment [I, I]. order: columns [I] in the order of rounding. factor: upper
    Cholesky factor of the damped moment's inverse [I, I]. power: the moment's diagonal [I]. Factor
    and power are in the order of rounding. natural: whether that is the matrix's own order.
    """

    moment: Tensor
    order: Tensor
    factor: Tensor
    power: Tensor
    natural: bool = True

    def scaled(self, columns: Tensor) -> Compensation:
        """The same of inputs divided by ``columns`` [I], without factorizing again."""
        ordered = columns[self.order]
        moment = self.moment / columns / columns[:, None]
        return Compensation(moment, self.order, self.factor * ordered, self.power / ordered.square(), self.natural)


def compensation(moment: Tensor, damping: float = 0.01, order: str = "natural") -> Compensation:
    """From the second moment of the inputs [I, I].

    order: ``natural``, or ``power``: columns of most power first (``act_order`` of the GPTQ code).
    The column that is rounded first has the most columns left to make up for its error.
    Raises NumericalError when the damped moment cannot be factorized.
    """
    natural = order == "natural"
    columns = torch.arange(len(moment))
    if not natural:
        columns = moment.diagonal().argsort(descending=True, stable=True)
    ordered = moment[columns][:, columns]
    power = ordered.diagonal().clamp_min(1e-12)
    return Compensation(damped(moment, damping), columns, inverse_factor(ordered, damping), power, natural)


def round_nearest(weight: Tensor, grid: Grid) -> Rounded:
    """llama.cpp's own rounding of a matrix [O, I], no calibration."""
    codes, scales = grid.unpack(grid.reference(weight))
    return Rounded(codes, scales, grid.weights(codes, scales))


def round_searched(weight: Tensor, grid: Grid) -> Rounded:
    """Each weight [O, I] to its nearest level, each block with the scale of least squared error."""
    scales = _searched(weight.float(), grid)
    codes = grid.nearest(weight.float(), scales.repeat_interleave(grid.block, 1))
    return Rounded(codes, scales, grid.weights(codes, scales))


def _searched(weight: Tensor, grid: Grid, power: Tensor | None = None) -> Tensor:
    """The best representable scales [O, B] of a matrix [O, I].

    power: [I] what each column's squared error counts.
    """
    blocks = weight.reshape(-1, grid.block)
    importance = None
    if power is not None:
        power = power.view(-1, grid.block)
        importance = (power / power.mean(1, keepdim=True)).repeat(len(weight), 1)
    return grid.representable(grid.scales(blocks, importance).view(len(weight), -1))


def round_compensated(weight: Tensor, inputs: Compensation, grid: Grid, mask: Tensor | None = None) -> Rounded:
    """Round column by column, passing each column's error on to those still to come.

    In the columns' natural order the scales of a unit are searched when the unit is reached, on the
    weights as compensated so far. In any other order they are searched beforehand, on the weights
    as they are. Squared errors count by the inputs' power. mask: bool [O, I], False entries become
    exactly 0 (the grid must have a zero).
    """
    _, order, factor, power, natural = inputs
    remaining = weight.float()[:, order]
    block = grid.block
    levels = torch.empty(remaining.shape[::-1])  # [I, O]: columns lie together
    if natural:
        scales = torch.empty(remaining.shape[0], remaining.shape[1] // block)
    else:
        scales = _searched(weight.float(), grid, power[order.argsort()])
    kept = mask.T.float().contiguous() if mask is not None else None
    for start in range(0, remaining.shape[1], block):
        stop = start + block
        if natural and start % grid.unit == 0:
            unit = slice(start, start + grid.unit)
            scales[:, start // block : unit.stop // block] = _searched(remaining[:, unit], grid, power[unit])
        w = remaining[:, start:stop].T.contiguous()
        u = factor[start:stop, start:stop]
        errors = torch.empty_like(w)
        columns = order[start:stop]
        scale = scales[:, columns // block].T.contiguous()
        inverse = 1 / inverse_safe(scale)
        for j, column in enumerate(columns.tolist()):
            level = grid.snapped(w[j] * inverse[j])
            if kept is not None:
                level *= kept[column]
            levels[column] = level
            errors[j] = (w[j] - level * scale[j]) / u[j, j]
            w[j + 1 :].addr_(u[j, j + 1 :], errors[j], alpha=-1)
        remaining[:, stop:] -= errors.T @ factor[start:stop, stop:]
    codes = grid.codes(levels.T.contiguous())
    return Rounded(codes, scales, grid.weights(codes, scales))


def refine(weight: Tensor, rounded: Rounded, moment: Tensor, grid: Grid, mask: Tensor | None = None) -> Rounded:
    """The rounding with its codes chosen once more, and then its scales refitted.

    GPTQ never returns to a code, and fixes a block's scale before it knows the errors of later
    columns. Both steps lower Σ_o ΔW_o M ΔW_oᵀ for the ``moment`` M [I, I]. Codes are chosen one
    column at a time, given the rest of the row. Scales come from least squares over all of a row's
    blocks. mask: as for ``round_compensated``.
    """
    return _rescaled(weight, _recoded(weight, rounded, moment, grid, mask), moment, grid)


def _rescaled(weight: Tensor, codes: Tensor, moment: Tensor, grid: Grid) -> Rounded:
    """The same codes; each row's scales from its normal equations [B, B], made representable."""
    block = grid.block
    blocks = codes.shape[1] // block
    levels = grid.value(codes, torch.ones(()))
    rows = max(1, AT_ONCE // (blocks * codes.shape[1]))
    solutions = []
    for part, target in zip(levels.split(rows), weight.float().split(rows), strict=True):
        tiles = part.view(-1, blocks, block)
        through = torch.stack([tiles[:, b] @ moment[b * block : (b + 1) * block] for b in range(blocks)], 1)
        normal = (through.view(-1, blocks, blocks, block) * tiles[:, None]).sum(-1)
        right_side = torch.einsum("obi,oi->ob", through, target)
        diagonal = normal.diagonal(dim1=1, dim2=2)
        ridge = RIDGE * diagonal.mean(1, keepdim=True) + torch.where(diagonal > 0, 0.0, 1.0)
        solutions.append(torch.linalg.solve(normal + torch.diag_embed(ridge), right_side))
    scales = grid.representable(torch.cat(solutions))
    return Rounded(codes, scales, levels * scales.repeat_interleave(block, 1))


def _recoded(weight: Tensor, rounded: Rounded, moment: Tensor, grid: Grid, mask: Tensor | None) -> Tensor:
    """Codes after one sweep of coordinate descent over the columns; scales as they are."""
    slope = (rounded.weight - weight) @ moment
    power = moment.diagonal()
    block = grid.block
    levels = torch.empty(weight.shape[::-1])  # [I, O]: columns lie together
    kept = mask.T.float().contiguous() if mask is not None else None
    for b in range(len(levels) // block):
        columns = slice(b * block, (b + 1) * block)
        scale = rounded.scales[:, b].contiguous()
        inverse = 1 / inverse_safe(scale)
        tile = moment[columns, columns]
        slopes = slope[:, columns].T.contiguous()
        value = rounded.weight[:, columns].T.contiguous()
        change = torch.empty_like(value)
        for j in range(block):
            i = b * block + j
            level = grid.snapped((value[j] - slopes[j] / power[i]) * inverse)
            if kept is not None:
                level *= kept[i]
            change[j] = level * scale - value[j]
            slopes[j + 1 :].addr_(tile[j, j + 1 :], change[j])
            levels[i] = level
        slope += change.T @ moment[columns]
    return grid.codes(levels.T.contiguous())


def masked(rounded: Rounded, mask: Tensor, grid: Grid) -> Rounded:
    """The rounding with every weight outside the mask [O, I] on the grid's zero."""
    zero = grid.nearest(torch.zeros(1), torch.ones(1))
    codes = torch.where(mask, rounded.codes, zero)
    return Rounded(codes, rounded.scales, torch.where(mask, rounded.weight, 0.0))


def round_best(
    weight: Tensor,
    compensations: list[Compensation],
    check: Tensor,
    grid: Grid,
    mask: Tensor | None = None,
) -> tuple[Rounded, list[Compensation]]:
    """The rounding of least output error on ``check``, and the compensation it came from.

    The candidates are one rounding for each of ``compensations``, the same refined, and the plain
    one. Where the plain one wins, all compensations are returned. Finer grids of the same matrix
    can then try only what is returned.
    """
    best = round_searched(weight, grid)
    best_compensations = compensations
    if mask is not None:
        best = masked(best, mask, grid)
    least = output_error(best.weight - weight, check)
    for inputs in compensations:
        rounded = round_compensated(weight, inputs, grid, mask)
        for candidate in (rounded, refine(weight, rounded, inputs.moment, grid, mask)):
            if (error := output_error(candidate.weight - weight, check)) < least:
                best = candidate
                best_compensations = [inputs]
                least = error
    return best, best_compensations
