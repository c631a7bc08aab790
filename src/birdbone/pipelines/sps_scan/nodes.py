"""Stage 3: the ∫SPS scan. True gradients, A and G of the same position, every score from one pass."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.scores import SCORES, NodeStats
from birdbone.algo.sps import NodeMoments
from birdbone.datasets.mscan import ScanWriter
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.model.observing.gradients import Pairs, node_moments
from birdbone.pipelines.sps_scan.settings import ScanSettings
from birdbone.run.ledger import workdir
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
) -> tuple[Path, tuple[dict[str, Tensor], dict]]:
    """The ``.mscan`` record, written while it scans, and every registered score of every node.

    Scores: ``ffn.<layer>.<score>`` and ``kv.<layer>.<score>`` [nodes]; ``fisher.<module>`` [out] and
    ``tokens.<module>`` [N, T], mean squared output gradients, say where an error would matter.
    """
    windows, block = texts.calibration, settings.block
    architecture, tokenizer = architecture_of(seed.config), read_tokenizer(tokenizer_folder)
    network = build(seed, resolve_device(device))
    path = (workdir() or Path(tempfile.mkdtemp(prefix="birdbone-"))) / "sps.mscan"
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

        nodes, fisher, tokens = node_moments(
            network, architecture, seed.config, windows, "scan", record
        )
    return path, (
        {
            **node_scores(seed, architecture, nodes, random_seed),
            **{f"fisher.{n}": f for n, f in fisher.items()},
            **{f"tokens.{n}": t for n, t in tokens.items()},
        },
        {"tokens": windows.numel(), "model": about["digest"], "scores": list(SCORES)},
    )


def node_scores(
    seed: Checkpoint, architecture: Architecture, nodes: dict[str, NodeMoments], random_seed: int
) -> dict[str, Tensor]:
    """``<kind>.<layer>.<score>`` for every node kind, layer and registered score."""
    scores = {}
    for layer in range(seed.layers):
        for kind, (incoming, outgoing) in _norms(seed, architecture, layer).items():
            stats = NodeStats(nodes[f"{kind}.{layer}"], incoming, outgoing)
            for name, function in SCORES.items():
                generator = torch.Generator().manual_seed(
                    random_seed * 100_003 + layer * 2 + (kind == "kv")
                )
                scores[f"{kind}.{layer}.{name}"] = function(stats, generator).float()
    return scores


def _norms(
    seed: Checkpoint, architecture: Architecture, layer: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Norms of what enters and leaves each node: rows of its inputs, columns of its output."""

    def weight(name: str) -> Tensor:
        return seed.weights[f"{name}.weight"]

    groups = architecture.kv_heads(seed.config)
    rows = (
        torch.stack([weight(n).square().sum(1) for n in architecture.ffn_inputs(layer)])
        .sum(0)
        .sqrt()
    )
    columns = weight(architecture.ffn_output(layer)).norm(dim=0)
    value = weight(architecture.attention_part(layer, "value")).reshape(groups, -1).norm(dim=1)
    out = weight(architecture.attention_part(layer, "output"))
    out = out.T.reshape(groups, -1).norm(dim=1)
    return {"ffn": (rows, columns), "kv": (value, out)}
