"""The loss of healing and its gradient at the head, a few positions at a time.

Logits of whole windows would be the largest tensors of a healing step and are never made: positions
are independent of each other, and the gradient of the loss in their logits has a closed form.

Legend: B windows, T tokens, H hidden size, V vocabulary. Position t is scored on token t + 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from birdbone.model.head import Head

POSITIONS = {"cpu": 128, "cuda": 2048}
"""Positions at once: what is made of their logits stays in a processor's cache, and a GPU has work
enough.
"""


@torch.no_grad()
def distil(
    states: Tensor, targets: Tensor, ids: Tensor, head: Head, teacher: Head, ce_weight: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """KL(teacher || student) and cross-entropy, nats, means over the B·(T - 1) scored positions;
    and the gradient of kl + ce_weight·ce in ``states``, which has their shape and dtype.

    states, targets: the student's and the teacher's final states [B, T, H]. ids: int64 [B, T]. The
    heads are fixed.
    """
    target, count = ids[:, 1:].flatten(), ids[:, 1:].numel()
    ours, theirs = (s[:, :-1].flatten(0, 1) for s in (states, targets))
    gradient = torch.empty(count, states.shape[-1], device=states.device, dtype=states.dtype)
    sums = torch.zeros(2, device=states.device, dtype=torch.float64)
    for rows in torch.arange(count).split(POSITIONS.get(states.device.type, POSITIONS["cuda"])):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        logits = head.logits(ours[part]).float()
        log_p = logits.log_softmax(-1)
        log_q = teacher.logits(theirs[part]).float().log_softmax(-1)
        wish, at = log_q.exp(), target[part, None]
        sums[0] += log_q.sub_(log_p).mul_(wish).sum(dtype=torch.float64)
        sums[1] -= log_p.gather(1, at).sum(dtype=torch.float64)
        slope = log_p.exp_().mul_(1 + ce_weight).sub_(wish)
        slope.scatter_add_(1, at, torch.full_like(slope[:, :1], -ce_weight))
        if head.cap:
            slope.mul_(1 - (logits / head.cap).square_())
        gradient[part] = slope.div_(count * head.divisor).to(head.weight.dtype) @ head.weight
    whole = torch.zeros_like(states)
    whole[:, :-1] = gradient.view(len(ids), -1, states.shape[-1])
    kl, ce = (sums / count).float()
    return kl, ce, whole


def state_error(states: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over blocks and tokens of ‖s - t‖² / ‖t‖², from two lists of [B, T, H]: a scalar,
    differentiable.

    Each token by its own power: a few hold nearly all of it (massive activations).
    """
    shares = [
        (s.float() - t.float()).square().sum(-1) / t.float().square().sum(-1).clamp_min(1e-6)
        for s, t in zip(states, targets, strict=True)
    ]
    return torch.stack(shares).mean()
