"""A model off every quantization grid with the same function: the fair ground for comparing
roundings.

The default seed was de-quantized from a 4-bit file, so its own blocks can be kept bit for bit. Here
random per-channel scales are folded into each norm and the matrices that it feeds, and between the
values and the attention's output, and the up-projection and the down-projection.
"""

from __future__ import annotations

import torch

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.rounding.equalize import feeds

SPREAD = 0.3


def twin(seed: Checkpoint, random_seed: int = 0) -> Checkpoint:
    """The seed with other weights and the same function, up to float32 rounding."""
    generator = torch.Generator().manual_seed(random_seed)
    for layer in range(seed.layers):
        for feed in sorted(feeds(seed, layer), key=lambda f: f.norm is None):
            scales = (SPREAD * torch.randn(feed.channels, generator=generator)).exp()
            seed = seed.evolve(feed.scaled(scales if feed.norm else 1 / scales).changed(seed))
    return seed
