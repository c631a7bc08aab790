"""Which windows of text the seed writes itself."""

from __future__ import annotations

import torch
from torch import Tensor


def written_places(text: dict) -> dict[str, Tensor]:
    """For calibration and healing, which windows (bool [N]) the seed writes: ``text.written_share`` of any stretch."""
    counts = {n: -(-text[f"{n}_tokens"] // text["window"]) for n in ("calibration", "heal")}
    return {n: (torch.arange(c + 1) * text["written_share"]).floor().diff() > 0 for n, c in counts.items()}
