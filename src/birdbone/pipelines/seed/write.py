"""Text that the seed writes itself, among the text read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.observing.self_text import write_windows
from birdbone.pipelines.seed.mix import written_places
from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.text.texts import Texts


def write_text(
    seed: Checkpoint,
    tokenizer_folder: Path,
    texts: Texts,
    text: TextSettings,
    device: str,
    random_seed: int,
) -> Texts:
    """The windows read; those the seed writes are spread evenly over calibration and healing."""
    places = written_places(text)
    counts = [int(by_seed.sum()) for by_seed in places.values()]
    if not any(counts):
        return replace(texts, written_share=text.written_share)
    tokenizer = read_tokenizer(tokenizer_folder)
    special = set(tokenizer.all_special_ids)
    starts = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    place = resolve_device(device)
    written = write_windows(seed, starts, sum(counts), text.window, random_seed, place)
    calibration, heal = written.split(counts)
    return replace(
        texts,
        calibration=_mixed(texts.calibration, calibration, places["calibration"]),
        heal=_mixed(texts.heal, heal, places["heal"]),
        written_share=text.written_share,
    )


def _mixed(windows: Tensor, written: Tensor, by_seed: Tensor) -> Tensor:
    """Windows [N, T], in which ``by_seed`` [N] says where those go that the seed wrote."""
    mixed = torch.empty(len(by_seed), windows.shape[1], dtype=torch.int32)
    mixed[~by_seed] = windows
    mixed[by_seed] = written
    return mixed
