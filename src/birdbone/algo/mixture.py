"""Routers of a mixture, derived from a dense layer: which experts a token needs.

A router is one direction per expert in the layer's input. A layer's output is the shared expert
plus the sum of the chosen ones; with all chosen it is the dense layer. So a router only ranks.
Legend: N tokens, H hidden size, W nodes, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 5e-4
"""Size of an exported router's outputs.

glm4_moe weighs an expert by 2·σ(z), which is then 1 to within 1e-3. Larger outputs move the sum of
all experts away from the dense layer. Smaller ones vanish in float32's steps around σ(0), where
each runtime breaks near ties in its own way (docs/moe.md has figures)."""


def expert_norms(h: Tensor, down: Tensor, groups: list[Tensor]) -> Tensor:
    """Norm of each expert's output per token, [N, E].

    h: [N, W]; down: [H, W]; groups: the nodes of each expert.
    """
    return torch.stack([(h[:, nodes] @ down[:, nodes].T).norm(dim=1) for nodes in groups], dim=1)


def read_router(x: Tensor, norms: Tensor, damping: float) -> Tensor:
    """A router [E, H] whose outputs rank the experts by the output they are about to give.

    x: [N, H] inputs of the layer; norms: [N, E]. Ridge regression on the logarithm of the norms
    less its mean over the experts, which no ranking depends on. damping: a share of each input's
    own power. The outputs have a root mean square of 1 on these tokens.
    """
    x = x.double()
    smallest = norms.mean().clamp_min(1e-30) * 1e-6
    log_norms = norms.clamp_min(smallest).log().double()
    target = log_norms - log_norms.mean(1, keepdim=True)
    moment = x.T @ x
    power = moment.diag().clone()
    moment.diagonal().add_(damping * power + 1e-12 * power.mean().clamp_min(1e-30))
    router = torch.linalg.solve(moment, x.T @ target).T
    size = (x @ router.T).pow(2).mean().sqrt()
    return (router / size.clamp_min(1e-30)).float()


def chosen_experts(z: Tensor, active: int) -> Tensor:
    """1 for the ``active`` largest of the router's outputs z [..., E], else 0.

    The gradient is that of a sigmoid around the midpoint between the last chosen and the first not
    chosen (straight-through, Bengio et al. 2013, arXiv:1308.3432), so that experts left out can
    come in.
    """
    experts = z.shape[-1]
    hard = torch.zeros_like(z).scatter_(-1, z.topk(active, dim=-1).indices, 1.0)
    if active == experts:
        return hard
    ordered = z.detach().sort(dim=-1, descending=True).values
    edge = (ordered[..., active - 1] + ordered[..., active]) / 2
    soft = torch.sigmoid(z - edge[..., None])
    return hard + soft - soft.detach()
