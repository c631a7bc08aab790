"""Cross-layer equalization: columns of equal size before rounding.

Nagel et al. 2019, arXiv:1906.04721. A block's weights share one scale, which its largest column
sets. Scales can move between a matrix and what feeds it without changing the function. Legend: O
rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.gptq import Compensation, round_compensated, round_searched
from birdbone.algo.grids import Grid

SAMPLE = 64
"""Rows that stand for the whole matrix when its rounding is tried."""


def column_scales(power: Tensor) -> Tensor:
    """Scales that make columns of this power (sum of squares) equally large: [I] -> [I].

    Their geometric mean is 1. A column of zeros keeps its scale.
    """
    nonzero = power > 0
    scales = torch.where(nonzero, power, 1.0).rsqrt()
    return torch.where(nonzero, scales / scales[nonzero].log().mean().exp(), 1.0)


def rounding_errors(weight: Tensor, inputs: Compensation, check: Tensor, grid: Grid) -> Tensor:
    """ΔW_o M ΔW_oᵀ for a sample of a matrix's rows [O, I], M being ``check``: [rows].

    Each row is rounded plainly and with compensation; the lesser error counts.
    """
    rows = torch.linspace(0, len(weight) - 1, min(SAMPLE, len(weight))).long()
    sample = weight[rows]
    errors = []
    for rounded in (round_searched(sample, grid), round_compensated(sample, inputs, grid)):
        change = rounded.weight - sample
        errors.append(((change @ check) * change).sum(1))
    return torch.stack(errors).amin(0)
