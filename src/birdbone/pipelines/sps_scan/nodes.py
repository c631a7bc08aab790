"""Stage 3: the ∫SPS scan. True gradients, A and G of the same position, every score from one pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.scores import SCORES, NodeStats
from birdbone.algo.sps import NodeMoments, block_norms
from birdbone.datasets.mscan import Module, ScanWriter
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.model.scan import Pairs, node_moments


def scan(
    seed: Checkpoint,
    about: dict,
    texts: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    settings: dict,
    device: str,
    random_seed: int,
) -> tuple[Callable[[Path], None], tuple[dict[str, Tensor], dict]]:
    """A writer of the ``.mscan`` record, and every registered score of every node.

    Scores: ``ffn.<layer>.<score>`` and ``kv.<layer>.<score>`` [nodes]; ``fisher.<module>`` [out] and
    ``tokens.<module>`` [N, T], mean squared output gradients, say where an error would matter.
    """
    windows = texts[0]["calibration"]
    architecture, tokenizer = architecture_of(seed.config), read_tokenizer(tokenizer_folder)
    network = build(seed, resolve_device(device))
    recorded: list[tuple[dict, dict, list[str]]] = []

    def record(ids: Tensor, pairs: Pairs) -> None:
        if len(recorded) * windows.shape[1] < settings["record_tokens"]:
            a = {n: block_norms(x, settings["block"]).cpu() for n, (x, _) in pairs.items()}
            g = {n: block_norms(x, settings["block"]).cpu() for n, (_, x) in pairs.items()}
            recorded.append((a, g, tokenizer.convert_ids_to_tokens(ids[:-1].tolist())))

    nodes, fisher, tokens = node_moments(network, architecture, seed.config, windows, "scan", record)
    modules = [
        Module(n, layer, *reversed(seed.weights[f"{n}.weight"].shape))
        for layer in range(seed.layers)
        for n in architecture.linears(layer)
    ]

    def write(path: Path) -> None:
        with ScanWriter(
            path, model=about["name"], model_digest=about["digest"], modules=modules, block=settings["block"]
        ) as writer:
            for a, g, tokens in recorded:
                writer.append(a, g, tokens, source=texts[1]["source"])

    scores = node_scores(seed, architecture, nodes, random_seed)
    return write, (
        {
            **scores,
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
                generator = torch.Generator().manual_seed(random_seed * 100_003 + layer * 2 + (kind == "kv"))
                scores[f"{kind}.{layer}.{name}"] = function(stats, generator).float()
    return scores


def _norms(seed: Checkpoint, architecture: Architecture, layer: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Norms of what enters and leaves each node: rows of its inputs, columns of its output."""

    def weight(name: str) -> Tensor:
        return seed.weights[f"{name}.weight"]

    groups = architecture.kv_heads(seed.config)
    rows = torch.stack([weight(n).square().sum(1) for n in architecture.ffn_inputs(layer)]).sum(0).sqrt()
    columns = weight(architecture.ffn_output(layer)).norm(dim=0)
    value = weight(architecture.attention_part(layer, "value")).reshape(groups, -1).norm(dim=1)
    out = weight(architecture.attention_part(layer, "output"))
    out = out.T.reshape(groups, -1).norm(dim=1)
    return {"ffn": (rows, columns), "kv": (value, out)}
