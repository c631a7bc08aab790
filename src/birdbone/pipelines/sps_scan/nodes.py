"""Stage 3: the ∫SPS scan: true gradients, A and G of one position, every score in one pass."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from birdbone.algo.scores import SCORES
from birdbone.datasets.mscan import ScanWriter
from birdbone.model.device import read_tokenizer
from birdbone.model.network import build
from birdbone.model.observing.gradients import Pairs, node_moments
from birdbone.model.observing.node_scores import node_scores
from birdbone.model.scores import Scores
from birdbone.pipelines.inputs import Seed, Workplace
from birdbone.pipelines.sps_scan.settings import ScanSettings
from birdbone.scan.record import append, modules_of, token_texts
from birdbone.text.texts import Texts


def scan_seed(
    seed: Seed,
    texts: Texts,
    settings: ScanSettings,
    work: Workplace,
) -> tuple[Path, Scores]:
    """The ``.mscan`` record, written while it scans, and every registered score of every node.

    Beside them stand the mean squared output gradients, which weigh errors.
    """
    windows = texts.calibration
    block = settings.block
    tokenizer = read_tokenizer(seed.tokenizer_folder)
    network = build(seed.model, work.place)
    path = work.scratch / "sps.mscan"
    windows_left = -(-settings.record_tokens // windows.shape[1])
    with ScanWriter(
        path,
        model=seed.about["name"],
        model_digest=seed.about["digest"],
        modules=modules_of(seed.model),
        block=block,
    ) as writer:

        def record(ids: Tensor, pairs: Pairs) -> None:
            nonlocal windows_left
            if windows_left > 0:
                append(writer, pairs, token_texts(tokenizer, ids), texts.source, block)
                windows_left -= 1

        moments, fisher, tokens = node_moments(network, seed.model.layout, windows, "scan", record)
    scanned = {"tokens": windows.numel(), "model": seed.about["digest"], "scores": list(SCORES)}
    return path, Scores(node_scores(seed.model, moments, work.random_seed), fisher, tokens, scanned)
