"""Text that the seed writes itself, among the text read."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.observing.self_text import write_windows
from birdbone.pipelines.seed.mix import written_places


def write_text(
    seed: Checkpoint,
    tokenizer_folder: Path,
    read: tuple[dict[str, Tensor], dict],
    text: dict,
    device: str,
    random_seed: int,
) -> tuple[dict[str, Tensor], dict]:
    """The windows read, and in calibration and healing evenly between them those the seed writes itself."""
    windows, about = dict(read[0]), {**read[1], "written_share": text["written_share"]}
    places = written_places(text)
    wanted = [int(by_seed.sum()) for by_seed in places.values()]
    if not any(wanted):
        return windows, about
    tokenizer = read_tokenizer(tokenizer_folder)
    special = set(tokenizer.all_special_ids)
    starts = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    written = write_windows(seed, starts, sum(wanted), text["window"], random_seed, resolve_device(device))
    for (name, by_seed), own in zip(places.items(), written.split(wanted), strict=True):
        mixed = torch.empty(len(by_seed), text["window"], dtype=torch.int32)
        mixed[~by_seed], mixed[by_seed] = windows[name], own
        windows[name] = mixed
    return windows, about
