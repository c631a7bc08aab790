"""Text that the seed writes itself: it needs no corpus and covers what the seed knows, not what a
corpus holds.

Data-free calibration as in LLM-QAT (Liu et al. 2023, arXiv:2305.17888): a random first token, then
the seed's own distribution at temperature 1. On such text the gradient of the log-likelihood is
drawn from the model, so that its mean square is the true Fisher information and not the empirical
one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import torch
from torch import Tensor
from transformers import DynamicCache

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import compute_dtype
from birdbone.model.network import build
from birdbone.progress import track

BATCH = 64
"""Windows written at once."""


@torch.no_grad()
def write_windows(seed: Checkpoint, starts: Tensor, count: int, length: int, random_seed: int, device: str) -> Tensor:
    """``count`` windows sampled from the seed, int32 [count, length].

    starts: token ids that a window may begin with (no special ones), drawn evenly.
    """
    generator = torch.Generator().manual_seed(random_seed)
    first = starts[torch.randint(len(starts), (count,), generator=generator)]
    return _write(seed, [[[token]] for token in first.tolist()], (), length, generator, device)


@torch.no_grad()
def write_talks(
    seed: Checkpoint,
    turns: list[list[list[int]]],
    ends: Collection[int],
    length: int,
    random_seed: int,
    device: str,
) -> Tensor:
    """Windows sampled from the seed, one per list of ``turns``, int32 [count, length].

    Of one's turns (token ids) the first opens the window; each time the seed says one of ``ends``,
    the next is put in.
    """
    return _write(seed, turns, ends, length, torch.Generator().manual_seed(random_seed), device)


def _write(
    seed: Checkpoint,
    turns: list[list[list[int]]],
    ends: Collection[int],
    length: int,
    generator: torch.Generator,
    device: str,
) -> Tensor:
    network = build(seed, device, compute_dtype("auto", device))
    batches = [turns[i : i + BATCH] for i in range(0, len(turns), BATCH)]
    steps = track(range(len(batches) * (length - 1)), "the seed writes", unit="token")
    written = []
    for batch in batches:
        prompts = [deque(own[0]) for own in batch]
        left = [deque(own[1:]) for own in batch]
        cache = DynamicCache(config=network.config)
        tokens = [torch.tensor([own.popleft() for own in prompts])]
        for _ in range(length - 1):
            next(steps)
            logits = network(tokens[-1][:, None].to(device), past_key_values=cache, use_cache=True).logits[:, -1]
            drawn = _sample(logits.float().cpu(), generator)
            for row, own in enumerate(prompts):
                if own:
                    drawn[row] = own.popleft()
                elif int(drawn[row]) in ends and left[row]:
                    own.extend(left[row].popleft())
            tokens.append(drawn)
        written.append(torch.stack(tokens, 1))
    return torch.cat(written).to(torch.int32)


def _sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One token per row by inverting the distribution function: logits [N, V] -> [N]."""
    below = logits.softmax(-1).cumsum(-1)
    draw = torch.rand(len(logits), 1, generator=generator) * below[:, -1:]
    return torch.searchsorted(below, draw, right=True)[:, 0].clamp_max(logits.shape[1] - 1)
