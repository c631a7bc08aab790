"""Columns of equal size before rounding: a block's weights share one scale, which its largest column sets.

Scales move between a matrix and what feeds it without changing the function (cross-layer equalization,
Nagel et al. 2019, arXiv:1906.04721).
Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.gptq import Compensation, round_compensated, round_searched
from birdbone.algo.grids import Grid

SAMPLE = 64
"""Rows of a matrix whose rounding stands for all of it."""


def column_scales(power: Tensor) -> Tensor:
    """What makes columns of so much power (sums of squares) equally large: [I] -> [I], geometric mean 1.

    A column of zeros keeps its scale.
    """
    held = power > 0
    scales = torch.where(held, power, 1.0).rsqrt()
    return torch.where(held, scales / scales[held].log().mean().exp(), 1.0)


def rounding_errors(weight: Tensor, given: Compensation, check: Tensor, grid: Grid) -> Tensor:
    """ΔW_o M ΔW_oᵀ of a sample of a matrix's rows [O, I], each plainly rounded or compensated: [rows].

    The lesser of both counts. given, check: as for ``round_best``; M is ``check``.
    """
    rows = torch.linspace(0, len(weight) - 1, min(SAMPLE, len(weight))).long()
    some, errors = weight[rows], []
    for rounded in (round_searched(some, grid), round_compensated(some, given, grid)):
        change = rounded.weight - some
        errors.append(((change @ check) * change).sum(1))
    return torch.stack(errors).amin(0)
