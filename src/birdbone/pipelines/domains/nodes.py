"""Labelled text sets, and one scan over all of them: what every block and every node does in each domain."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.model.observing.self_text import write_talks
from birdbone.run.ledger import workdir
from birdbone.scan.domains import profile_tensors, sample_tokens, scan_label
from birdbone.scan.record import modules_of, open_writer, token_texts
from birdbone.sources.generation import end_tokens
from birdbone.text.dialogue import openings, shared_start, turns
from birdbone.text.sources import SEED_CHAT, documents
from birdbone.text.splits import excerpt_windows, split

SCAN_SHARE = 0.5
"""Of a set's documents; the rest is held out."""


def read_texts(
    seed: Checkpoint, tokenizer_folder: Path, settings: dict, device: str, random_seed: int
) -> tuple[dict[str, Tensor], dict]:
    """``scan.<label>`` and ``heldout.<label>`` int32 [windows, tokens], from different documents."""
    tokenizer, window = read_tokenizer(tokenizer_folder), settings["window"]
    tokens = {"scan": settings["scan_tokens"], "heldout": settings["heldout_tokens"]}
    windows: dict[str, Tensor] = {}
    for label, source in settings["sets"].items():
        if source == SEED_CHAT:
            ends = end_tokens(tokenizer_folder, tokenizer)
            found = _talks(seed, tokenizer, ends, tokens, window, device, random_seed)
        else:
            parts = split(documents(source), random_seed, {"scan": SCAN_SHARE, "heldout": 1 - SCAN_SHARE})
            found = {
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
        windows |= {f"{side}.{label}": ids for side, ids in found.items()}
    return windows, {"labels": list(settings["sets"]), "sources": settings["sets"], "window": window}


def _talks(
    seed: Checkpoint,
    tokenizer,
    ends: list[int],
    tokens: dict[str, int],
    window: int,
    device: str,
    random_seed: int,
) -> dict[str, Tensor]:
    """Dialogues that the seed writes; the template's system message, alike in all, is cut off in front."""
    counts = {side: -(-count // window) for side, count in tokens.items()}
    lines = openings(SCAN_SHARE, counts, random_seed)
    scripts = [turns(tokenizer, ends, line, i) for side in counts for i, line in enumerate(lines[side])]
    skip = shared_start(scripts)
    written = write_talks(seed, scripts, ends, skip + window, random_seed, resolve_device(device))[:, skip:]
    return dict(zip(counts, (part.contiguous() for part in written.split(list(counts.values()))), strict=True))


def scan(
    seed: Checkpoint,
    about: dict,
    texts: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    settings: dict,
    sps_scan: dict,
    device: str,
    random_seed: int,
) -> tuple[Path, tuple[dict[str, Tensor], dict]]:
    """The ``.mscan`` of every label's windows, and ``domain_profile`` (see ``profile_tensors``).

    Both grow in the node's scratch folder while it reads, so that a killed scan goes on where it stopped.
    """
    folder = workdir() or Path(tempfile.mkdtemp(prefix="birdbone-"))
    labels, block = texts[1]["labels"], sps_scan["block"]
    windows = {label: texts[0][f"scan.{label}"] for label in labels}
    sampled = sample_tokens(windows, settings["profile_tokens"], random_seed)
    tokenizer = read_tokenizer(tokenizer_folder)
    network = build(seed, resolve_device(device))
    shown = {label: [token_texts(tokenizer, row) for row in windows[label]] for label in labels}
    writer, written = open_writer(
        folder / "domains.mscan",
        model=about["name"],
        model_digest=about["digest"],
        modules=modules_of(seed),
        block=block,
        wanted=[(label, row) for label in labels for row in shown[label]],
    )
    sums = {}
    with writer:
        for number, label in enumerate(labels):
            sums[label] = scan_label(
                network,
                seed.layout,
                windows[label],
                sampled[label],
                label,
                shown[label],
                writer,
                min(written, len(windows[label])),
                block,
                folder / f"sums-{number}.safetensors",
            )
            written = max(0, written - len(windows[label]))
    meta = {
        "labels": labels,
        "tokens": {label: ids.shape[0] * (ids.shape[1] - 1) for label, ids in windows.items()},
        "model": about["digest"],
    }
    return folder / "domains.mscan", (profile_tensors(sums, sampled), meta)
