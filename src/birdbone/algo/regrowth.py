"""RigL's regrowth for whole neurons (Evci et al. 2020, arXiv:1911.11134)."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.moments import damped


def outgoing_gradient(h: Tensor, grad: Tensor) -> Tensor:
    """∂L/∂W[:, j] of an output projection for candidate activations: [out, k].

    h: [tokens, k]; grad: [tokens, out]. A removed neuron has zero weights and so zero gradient.
    With its incoming rows restored and its outgoing column at zero, this is the gradient that
    column would get.
    """
    return grad.float().T @ h.float()


def best_chunks(
    gains: dict[int, Tensor],
    removed: dict[int, Tensor],
    widths: dict[int, int],
    limit: int,
    multiple: int,
) -> dict[int, Tensor]:
    """Removed neurons to bring back, in chunks that keep widths multiples of ``multiple``.

    gains: layer -> ‖gradient‖ per removed neuron [k]; removed: layer -> their numbers [k]; at most
    ``limit`` neurons in all, the chunks with the highest mean gain first.
    """
    chunks = []
    for layer, gain in gains.items():
        order = gain.argsort(descending=True, stable=True)
        start = 0
        size = -widths[layer] % multiple or multiple
        while start + size <= len(order):
            chosen = order[start : start + size]
            chunks.append((-float(gain[chosen].double().mean()), layer, start, removed[layer][chosen]))
            start += size
            size = multiple
    returned: dict[int, list[Tensor]] = {}
    total = 0
    for _, layer, _, neurons in sorted(chunks, key=lambda c: c[:3]):
        if total + len(neurons) <= limit:
            returned.setdefault(layer, []).append(neurons)
            total += len(neurons)
    return {layer: torch.cat(chunks).sort().values for layer, chunks in returned.items()}


def refit_columns(residual_cross: Tensor, moment: Tensor, damping: float) -> Tensor:
    """Output columns C [out, k] of returning neurons: argmin Σ_t ‖r_t − C h_t‖² + damping.

    residual_cross: Σ r hᵀ [out, k], r being the seed's output of the layer less its present one;
    moment: Σ h hᵀ [k, k].
    """
    return torch.linalg.solve(damped(moment, damping).double(), residual_cross.double().T).T.float()
