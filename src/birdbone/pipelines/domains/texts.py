"""Labelled text sets."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.model.generation import end_tokens
from birdbone.model.observing.self_text import write_talks
from birdbone.pipelines.domains.settings import DomainSettings
from birdbone.pipelines.inputs import Compute
from birdbone.text.dialogue import openings, shared_start, turns
from birdbone.text.sources import SEED_CHAT, documents
from birdbone.text.splits import excerpt_windows, split_documents
from birdbone.text.texts import LabelledTexts

SCAN_SHARE = 0.5
"""Of a set's documents; the rest is held out."""


def read_texts(
    seed: Checkpoint,
    tokenizer_folder: Path,
    settings: DomainSettings,
    compute: Compute,
) -> LabelledTexts:
    """Windows to scan and windows held out of every set, from different documents."""
    tokenizer = read_tokenizer(tokenizer_folder)
    window = settings.window
    tokens = {"scan": settings.scan_tokens, "heldout": settings.heldout_tokens}
    sides: dict[str, dict[str, Tensor]] = {"scan": {}, "heldout": {}}
    for label, source in settings.sets.items():
        if source == SEED_CHAT:
            ends = end_tokens(tokenizer_folder, tokenizer)
            windows = _talks(seed, tokenizer, ends, tokens, window, compute)
        else:
            parts = split_documents(
                documents(source),
                compute.random_seed,
                {"scan": SCAN_SHARE, "heldout": 1 - SCAN_SHARE},
            )
            windows = {
                side: excerpt_windows(
                    parts[side],
                    lambda text: tokenizer(text, add_special_tokens=False, verbose=False).input_ids,
                    count,
                    window,
                    f"domains.{side}_tokens of {label} ({source})",
                    tokenizer.eos_token_id,
                )
                for side, count in tokens.items()
            }
        for side, ids in windows.items():
            sides[side][label] = ids
    return LabelledTexts(**sides, sources=settings.sets, window=window)


def _talks(
    seed: Checkpoint,
    tokenizer,
    ends: list[int],
    tokens: dict[str, int],
    window: int,
    compute: Compute,
) -> dict[str, Tensor]:
    """Dialogues that the seed writes, without the template's system message at their start."""
    counts = {side: -(-count // window) for side, count in tokens.items()}
    lines = openings(SCAN_SHARE, counts, compute.random_seed)
    scripts = [
        turns(tokenizer, ends, line, i) for side in counts for i, line in enumerate(lines[side])
    ]
    skip = shared_start(scripts)
    length = skip + window
    written = write_talks(seed, scripts, ends, length, compute.random_seed, compute.place)[:, skip:]
    parts = [part.contiguous() for part in written.split(list(counts.values()))]
    return dict(zip(counts, parts, strict=True))
