"""Stage 3: the ∫SPS scan. True gradients, A and G of the same position, every score from one pass."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.scores import SCORES, NodeStats
from birdbone.algo.sps import NodeMoments
from birdbone.datasets.mscan import ScanWriter
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.layout import UNITS, Block, Nodes
from birdbone.model.network import build
from birdbone.model.observing.gradients import Pairs, node_moments
from birdbone.model.scores import Scores, joint_norms
from birdbone.pipelines.sps_scan.settings import ScanSettings
from birdbone.scan.record import append, modules_of, token_texts
from birdbone.text.texts import Texts


def scan(
    seed: Checkpoint,
    about: dict,
    texts: Texts,
    tokenizer_folder: Path,
    settings: ScanSettings,
    device: str,
    random_seed: int,
    scratch: Path,
) -> tuple[Path, Scores]:
    """The ``.mscan`` record, written while it scans, and every registered score of every node.

    The mean squared output gradients beside them say where an error would matter.
    """
    windows = texts.calibration
    block = settings.block
    tokenizer = read_tokenizer(tokenizer_folder)
    network = build(seed, resolve_device(device))
    path = scratch / "sps.mscan"
    left = -(-settings.record_tokens // windows.shape[1])
    with ScanWriter(
        path,
        model=about["name"],
        model_digest=about["digest"],
        modules=modules_of(seed),
        block=block,
    ) as writer:

        def record(ids: Tensor, pairs: Pairs) -> None:
            nonlocal left
            if left > 0:
                append(writer, pairs, token_texts(tokenizer, ids), texts.source, block)
                left -= 1

        moments, fisher, tokens = node_moments(network, seed.layout, windows, "scan", record)
    scanned = {"tokens": windows.numel(), "model": about["digest"], "scores": list(SCORES)}
    return path, Scores(node_scores(seed, moments, random_seed), fisher, tokens, scanned)


def node_scores(
    seed: Checkpoint, moments: dict[Nodes, NodeMoments], random_seed: int
) -> dict[tuple[Nodes, str], Tensor]:
    """Every registered score of every layer's nodes."""
    scores = {}
    for nodes in seed.layout.nodes:
        incoming, outgoing = _norms(seed, seed.layout.blocks[nodes.layer], nodes.unit)
        stats = NodeStats(moments[nodes], incoming, outgoing)
        for name, function in SCORES.items():
            draw = random_seed * 100_003 + nodes.layer * 2 + list(UNITS).index(nodes.unit)
            scores[nodes, name] = function(stats, torch.Generator().manual_seed(draw)).float()
    return scores


def _norms(seed: Checkpoint, block: Block, unit: str) -> tuple[Tensor, Tensor]:
    """Norms of what enters and leaves each node: rows of what drives it, columns of what reads it."""
    drives = [f"{module}.weight" for module in UNITS[unit].enters(block)]
    reader = f"{block.reader(unit)}.weight"
    if block.axes[drives[0]].entries == 1:
        incoming = joint_norms([seed.weights[name] for name in drives])
    else:
        (name,) = drives
        incoming = block.axes[name].norms(seed.weights[name])
    return incoming, block.axes[reader].norms(seed.weights[reader])
