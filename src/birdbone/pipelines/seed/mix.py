"""Which windows of text the seed writes itself."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.pipelines.seed.settings.text import TextSettings


def written_places(text: TextSettings) -> dict[str, Tensor]:
    """Which windows of calibration and healing (bool [N]) the seed writes, evenly spread."""
    tokens = {"calibration": text.calibration_tokens, "heal": text.heal_tokens}
    counts = {name: -(-count // text.window) for name, count in tokens.items()}
    return {
        n: (torch.arange(c + 1) * text.written_share).floor().diff() > 0 for n, c in counts.items()
    }
