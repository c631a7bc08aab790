"""Second moments of a layer's inputs, with the first tokens' massive activations held in check."""

from __future__ import annotations

import torch
from torch import Tensor


def second_moment(x: Tensor, cap: float | None = None) -> Tensor:
    """Sum over tokens of x xᵀ for inputs [tokens, features] -> [features, features], float32.

    ``cap``: tokens whose norm exceeds ``cap`` times the median norm are shortened to it. Attention
    sinks (the first tokens) otherwise swamp the sum; dropping them altogether is worse.
    """
    x = x.float()
    if cap is not None:
        norm = x.norm(dim=-1, keepdim=True)
        x = x * (cap * norm.median() / norm.clamp_min(1e-12)).clamp_max(1.0)
    return x.T @ x


def damped(moment: Tensor, damping: float) -> Tensor:
    """The moment with each feature's own diagonal raised by ``damping`` of itself.

    Features never active get the mean diagonal, so that the result can be factorized.
    """
    diagonal = moment.diagonal()
    floor = diagonal.mean().clamp_min(1e-8)
    return moment + torch.diag(damping * diagonal + torch.where(diagonal <= 1e-6 * floor, floor, 0.0))


def output_error(change: Tensor, moment: Tensor) -> float:
    """Σ_t ‖ΔW x_t‖² for a weight change [out, in] and a moment [in, in]."""
    return float(torch.einsum("oi,ij,oj->", change.double(), moment.double(), change.double()))
