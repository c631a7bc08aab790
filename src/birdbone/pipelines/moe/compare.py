"""The mixture against the share of experts on, and its groupings against each other."""

from __future__ import annotations

from pathlib import Path

from birdbone.algo.grouping import GROUPINGS
from birdbone.algo.perplexity import without_documents
from birdbone.gguf.file import GGUF_NAME
from birdbone.mixture.figures import active_shares, against_others, compare_runtimes, shares, speeds
from birdbone.mixture.split import Routers, Split, mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.judging.reference import Reference, States
from birdbone.pipelines.moe.settings import CompareSettings
from birdbone.text.texts import Texts


def compare_mixture(
    source: Checkpoint,
    split: Split,
    healed: Routers,
    stock_folder: Path,
    gguf_folder: Path,
    seed: Checkpoint,
    seed_states: States,
    texts: Texts,
    tokenizer_folder: Path,
    settings: CompareSettings,
    kind: str,
    device: str,
    random_seed: int,
    threads: int | None,
) -> tuple[dict, dict]:
    """(quality against the share of experts on, llama.cpp's tokens per second for the same).

    Raises ExportError where llama.cpp and transformers disagree on the f32 mixture.
    """
    mixtures = {grouping: mixture_from(source, split, grouping=grouping) for grouping in GROUPINGS}
    final = mixture_from(source, split, healed)
    counts = shares(settings.shares, final.shape.experts)
    ids = texts.calibration.flatten()[: settings.referee_tokens].tolist()
    exact = compare_runtimes(final, tokenizer_folder, ids, threads)
    rows = active_shares(
        mixtures,
        stock_folder,
        counts,
        split.grouping,
        Reference(seed, seed_states.guard),
        texts.guard,
        settings.guard_tokens,
        resolve_device(device),
        random_seed,
    )
    report = {
        "shape": split.about,
        "healing": healed.about,
        "rows": [*without_documents(dict(enumerate(rows))).values()],
        "comparisons": against_others(rows, random_seed),
        "referee": exact,
    }
    path = gguf_folder / GGUF_NAME
    return report, speeds(
        path, source, tokenizer_folder, kind, counts, settings.speed_tokens, threads
    )
