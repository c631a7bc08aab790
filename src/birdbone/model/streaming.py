"""Networks larger than the device: blocks stay in host memory and visit the device one at a time.

A streamed block's weights are copied to the device for its call alone. While gradients are wanted
each block is checkpointed (Chen et al. 2016, arXiv:1604.06174): its weights visit once more on the
way back, and of what it computed only its input waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint as recomputed

ROOM = 0.5
"""Share of a device's free memory that weights may take; the rest is for what is computed with
them.
"""


def too_large(weight_bytes: int, device: str) -> bool:
    """Whether weights of so many bytes leave a CUDA device too little room. Never for a CPU, which
    is the host.
    """
    return device.startswith("cuda") and weight_bytes > ROOM * torch.cuda.mem_get_info(device)[0]


def stream(blocks: Iterable[nn.Module], device: str, dtype: torch.dtype) -> None:
    """From now on each block computes on ``device`` in ``dtype`` with its parameters left where
    they are.

    Submodules may be replaced and parameters trained afterwards: gradients arrive at the host's
    own.
    """
    for block in blocks:
        block.forward = _visiting(_Plain(block), device, dtype)


class _Plain(nn.Module):
    """A block by its own forward, whatever ``block.forward`` is now."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, self.own = block, block.forward

    def forward(self, *args, **kwargs):
        return self.own(*args, **kwargs)


def _visiting(plain: _Plain, device: str, dtype: torch.dtype):
    def visit(*args, **kwargs):
        tensors = [*plain.named_parameters(), *plain.named_buffers()]
        moved = {n: t.to(device, dtype if t.is_floating_point() else None, non_blocking=True) for n, t in tensors}
        return functional_call(plain, moved, args, kwargs)

    def forward(*args, **kwargs):
        if not torch.is_grad_enabled():
            return visit(*args, **kwargs)
        return recomputed(visit, *args, use_reentrant=False, **kwargs)

    return forward
