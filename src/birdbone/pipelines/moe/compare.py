"""The mixture against the share of experts on, and its groupings against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from birdbone.algo.grouping import GROUPINGS
from birdbone.algo.perplexity import without_documents
from birdbone.gguf.file import GGUF_NAME
from birdbone.mixture.figures import active_shares, against_others, compare_runtimes, shares, speeds
from birdbone.mixture.split import mixture_from
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.moe.parts import Parts
from birdbone.pipelines.moe.settings import CompareSettings
from birdbone.pipelines.yardstick import Yardstick


@dataclass(frozen=True)
class Written(Together):
    """The mixture as stock runtimes have it; kind: the GGUF file's tensor type."""

    stock_folder: Path
    gguf_folder: Path
    kind: str


def compare_mixture(
    parts: Parts,
    written: Written,
    yardstick: Yardstick,
    settings: CompareSettings,
    compute: Compute,
    threads: int | None,
) -> tuple[dict, dict]:
    """(quality against the share of experts on, llama.cpp's tokens per second for the same).

    Raises ExportError where llama.cpp and transformers disagree on the f32 mixture.
    """
    source, split = parts.source, parts.split
    mixtures = {grouping: mixture_from(source, split, grouping=grouping) for grouping in GROUPINGS}
    final = parts.mixture
    counts = shares(settings.shares, final.shape.experts)
    texts = yardstick.texts
    folder = yardstick.tokenizer_folder
    ids = texts.calibration.flatten()[: settings.referee_tokens].tolist()
    exact = compare_runtimes(final, folder, ids, threads)
    rows = active_shares(
        mixtures,
        written.stock_folder,
        counts,
        split.grouping,
        yardstick.guard,
        texts.guard,
        settings.guard_tokens,
        compute.place,
        compute.random_seed,
    )
    report = {
        "shape": split.about,
        "healing": parts.healed.about,
        "rows": [*without_documents(dict(enumerate(rows))).values()],
        "comparisons": against_others(rows, compute.random_seed),
        "referee": exact,
    }
    path = written.gguf_folder / GGUF_NAME
    return report, speeds(
        path, source, folder, written.kind, counts, settings.speed_tokens, threads
    )
