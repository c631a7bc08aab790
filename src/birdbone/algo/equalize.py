"""Columns of equal size before rounding: a block of 32 shares one scale, which its largest column sets.

Scales move between a matrix and what feeds it without changing the function (cross-layer equalization,
Nagel et al. 2019, arXiv:1906.04721).
Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.gptq import compensation, round_best
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


def rounding_errors(weight: Tensor, fit: Tensor, check: Tensor, grid: Grid, damping: float) -> Tensor:
    """ΔW_o M ΔW_oᵀ of the best rounding of a sample of a matrix's rows [O, I]: [rows].

    fit, check: second moments [I, I] of its inputs, to compensate with and M. The plain rounding would not do:
    what is wrong with it adds up along the inputs' mean.
    """
    rows = torch.linspace(0, len(weight) - 1, min(SAMPLE, len(weight))).long()
    change = round_best(weight[rows], [compensation(fit, damping)], check, grid).weight - weight[rows]
    return ((change @ check) * change).sum(1)
