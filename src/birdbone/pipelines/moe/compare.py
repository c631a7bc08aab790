"""The mixture against the share of experts on, and its groupings against each other."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.algo.grouping import GROUPINGS
from birdbone.algo.perplexity import plain
from birdbone.gguf.file import GGUF_NAME
from birdbone.mixture.figures import active_shares, against_others, referee, shares, speeds
from birdbone.mixture.split import mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.judging.reference import Reference

Tensors = tuple[dict[str, Tensor], dict]


def compare(
    source: Checkpoint,
    found: Tensors,
    healed: Tensors,
    stock_folder: Path,
    gguf_folder: Path,
    seed: Checkpoint,
    seed_states: Tensors,
    texts: Tensors,
    tokenizer_folder: Path,
    settings: dict,
    kind: str,
    device: str,
    random_seed: int,
    threads: int | None,
) -> tuple[dict, dict]:
    """(quality against the share of experts on, llama.cpp's tokens per second for the same).

    Raises ExportError where llama.cpp and transformers disagree on the f32 mixture.
    """
    mixtures = {grouping: mixture_from(source, found, grouping=grouping) for grouping in GROUPINGS}
    final = mixture_from(source, found, healed)
    counts = shares(settings["shares"], final.shape.experts)
    ids = texts[0]["calibration"].flatten()[: settings["referee_tokens"]].tolist()
    exact = referee(final, tokenizer_folder, ids, threads)
    rows = active_shares(
        mixtures,
        stock_folder,
        counts,
        found[1]["grouping"],
        Reference(seed, seed_states[0]),
        texts[0],
        settings["guard_tokens"],
        resolve_device(device),
        random_seed,
    )
    report = {
        "shape": found[1],
        "healing": healed[1],
        "rows": [*plain(dict(enumerate(rows))).values()],
        "comparisons": against_others(rows, random_seed),
        "referee": exact,
    }
    path = gguf_folder / GGUF_NAME
    return report, speeds(path, source, tokenizer_folder, kind, counts, settings["speed_tokens"], threads)
