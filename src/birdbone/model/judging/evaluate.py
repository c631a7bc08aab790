"""What a network does with token windows: loss, and divergence from the seed.

Legend: B windows, T tokens, V vocabulary. Position t is scored on token t + 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdbone.progress import track

MEASURED = ("nll", "seed_nll", "kl", "agree")
"""What is measured of a window, see ``compare``."""
POSITIONS = 32
"""Positions compared at once."""


@torch.no_grad()
def losses(network: nn.Module, windows: Tensor, label: str = "evaluate") -> Tensor:
    """Summed negative log-likelihood of each window (nats, float64) [N]; T - 1 tokens count."""
    device = next(network.parameters()).device
    out = []
    for ids in track(windows.split(2), label, unit="window pairs"):
        ids = ids.to(device).long()
        logits = network(ids, use_cache=False).logits
        out.append(window_nll(logits, ids))
    return torch.cat(out)


@torch.no_grad()
def compare(
    network: nn.Module,
    seed_logits: Callable[[slice], Tensor],
    windows: Tensor,
    label: str = "compare",
) -> dict[str, Tensor]:
    """Per window, summed over its T - 1 scored positions [N], float64:

    ``nll`` and ``seed_nll`` (nats), ``kl`` = KL(seed || network) (nats), ``agree`` = equal top-1
    tokens. seed_logits: some of the windows, as rows -> the seed's logits [rows, T, V] on the
    network's device.
    """
    rows = []
    for start in track(range(0, len(windows), 2), label, unit="window pairs"):
        chosen = slice(start, start + 2)
        rows.append(scored(network, seed_logits(chosen), windows[chosen]))
    return dict(zip(MEASURED, torch.cat(rows).T, strict=True))


@torch.no_grad()
def scored(network: nn.Module, seed_logits: Tensor, windows: Tensor) -> Tensor:
    """``MEASURED`` of a few windows [rows, 4], float64, on the CPU; seed_logits: [rows, T, V]."""
    ids = windows.to(seed_logits.device).long()
    ours = network(ids, use_cache=False).logits
    rows = [_scored(*one) for one in zip(ours, seed_logits, ids, strict=True)]
    return torch.stack(rows).cpu()


def _scored(ours: Tensor, theirs: Tensor, ids: Tensor) -> Tensor:
    """nll, seed_nll, kl and agree of one window's logits [T, V] twice: [4], float64.

    A few positions at a time, so that what is made of their logits stays in the processor's cache.
    """
    sums = ids.new_zeros(4, dtype=torch.float64)
    for part in torch.arange(len(ids) - 1).split(POSITIONS):
        rows = slice(int(part[0]), int(part[-1]) + 1)
        o, t = (F.log_softmax(logits[rows].float(), -1) for logits in (ours, theirs))
        target = ids[1:][rows, None]
        sums[0] -= o.gather(1, target).sum(dtype=torch.float64)
        sums[1] -= t.gather(1, target).sum(dtype=torch.float64)
        sums[3] += (o.argmax(-1) == t.argmax(-1)).sum()
        sums[2] += t.exp().mul_(t - o).sum(-1).sum(dtype=torch.float64)
    return sums


def kl_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) per position from logits [..., V] -> [...], in nats."""
    s, t = F.log_softmax(student.float(), -1), F.log_softmax(teacher.float(), -1)
    return F.kl_div(s, t, log_target=True, reduction="none").sum(-1)


def window_nll(logits: Tensor, ids: Tensor) -> Tensor:
    """Summed negative log-likelihood of each window, nats [B] float64, from logits [B, T, V].

    One window at a time, to bound memory.
    """
    rows = [
        F.cross_entropy(row[:-1].float(), target[1:], reduction="sum")
        for row, target in zip(logits, ids, strict=True)
    ]
    return torch.stack(rows).double().cpu()
