"""Columns of equal size before rounding: a block of 32 shares one scale, which its largest column sets.

Scales move between a matrix and what feeds it without changing the function (cross-layer equalization,
Nagel et al. 2019, arXiv:1906.04721).
Legend: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.gptq import compensation, round_compensated
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


def rounding_error(weight: Tensor, fit: Tensor, check: Tensor, fisher: Tensor, grid: Grid, damping: float) -> float:
    """Σ_o fisher_o ΔW_o M ΔW_oᵀ of the compensated rounding of a sample of a matrix's rows [O, I].

    fit, check: second moments [I, I] of its inputs, to compensate with and M; fisher: [O], what a row's squared
    error costs. The plain rounding would not do: its errors add up along the inputs' mean, and a sample's say little.
    """
    rows = torch.linspace(0, len(weight) - 1, min(SAMPLE, len(weight))).long()
    change = round_compensated(weight[rows], compensation(fit, damping), grid).weight - weight[rows]
    return float((fisher[rows] * ((change @ check) * change).sum(1)).sum())
