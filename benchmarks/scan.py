"""How fast a model is scanned and a scan replayed: against full training passes, on the profile's seed.

Scanning a window (gradients, block norms, chunk on disk with fsync) and a full forward and backward pass with
parameter gradients alternate in one run; ``share`` is their ratio of speeds, 1 or more is the aim; ``share_cpu`` that
of processor time, which other work on the machine disturbs less. Replay times are
of any token and any layer in a scan of ``tokens`` tokens made of the chunks so scanned, repeated. Memory is the
resident size's growth while that scan is written.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from workbench import Artifacts, arguments, save

from birdbone.algo.sps import block_norms
from birdbone.datasets.mscan import ScanWriter
from birdbone.datasets.mscan_open import open_scan
from birdbone.model.network import build
from birdbone.model.observing.gradients import gradients, node_values
from birdbone.scan.domains import LabelSums
from birdbone.scan.record import append, modules_of

BLOCK = 64


def main() -> None:
    asked = arguments(__doc__, window=128, rounds=6, tokens=10_000, reads=200)
    artifacts = Artifacts(asked.env)
    seed = artifacts.seed_model
    network, names = build(seed), seed.layout.linears
    vocabulary = network.config.vocab_size
    windows = torch.randint(vocabulary, (asked.rounds, asked.window), generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="birdbone-", dir=".") as folder:
        place = Path(folder)
        rows = [_speed(network, names, seed, windows, place)]
        rows.append(_replay(network, names, seed, windows[0], asked, place))
    print("\n".join(f"{key}: {value}" for row in rows for key, value in row.items()))
    save("scan", asked, rows, _picture(rows))


def _speed(network, names, seed, architecture, windows, place: Path) -> dict:
    """Median seconds per window of each kind of pass, alternating; a first round of all is not counted."""
    sums = LabelSums()
    nowhere = torch.zeros(0, dtype=torch.long)
    with ScanWriter(place / "speed.mscan", model="seed", model_digest="", modules=modules_of(seed)) as writer:

        def scanned(ids: torch.Tensor) -> None:
            append(writer, gradients(network, names, ids), [""] * (len(ids) - 1), "random", BLOCK)

        def profiled(ids: torch.Tensor) -> None:
            pairs = gradients(network, names, ids)
            append(writer, pairs, [""] * (len(ids) - 1), "random", BLOCK)
            sums.add(node_values(network, seed.layout, pairs), nowhere)

        passes: dict[str, Callable] = {"full": lambda ids: _full(network, ids), "scan": scanned, "domains": profiled}
        wall: dict[str, list[float]] = {kind: [] for kind in passes}
        cpu: dict[str, list[float]] = {kind: [] for kind in passes}
        for ids in [windows[0], *windows]:
            for kind, step in passes.items():
                start, start_cpu = time.perf_counter(), time.process_time()
                step(ids)
                wall[kind].append(time.perf_counter() - start)
                cpu[kind].append(time.process_time() - start_cpu)
    seconds, cpu_seconds = ({k: statistics.median(v[1:]) for k, v in found.items()} for found in (wall, cpu))
    return {
        "what": "speed",
        **{f"{kind}_seconds": seconds[kind] for kind in passes},
        **{f"{kind}_cpu_seconds": cpu_seconds[kind] for kind in passes},
        "share": seconds["full"] / seconds["scan"],
        "share_cpu": cpu_seconds["full"] / cpu_seconds["scan"],
        "share_with_node_sums": seconds["full"] / seconds["domains"],
        "share_with_node_sums_cpu": cpu_seconds["full"] / cpu_seconds["domains"],
        "tokens_per_second": windows.shape[1] / seconds["scan"],
    }


def _full(network: torch.nn.Module, ids: torch.Tensor) -> None:
    """Forward and backward with the gradient of every parameter, as a training step has them."""
    network.requires_grad_(True)
    logits = network(ids[None], use_cache=False).logits[0, :-1]
    F.cross_entropy(logits.float(), ids[1:], reduction="sum").backward()
    for parameter in network.parameters():
        parameter.grad = None
    network.requires_grad_(False)


def _replay(network, names, seed, ids, asked, place: Path) -> dict:
    """Milliseconds to read one token or one layer of one token: the scan just opened, a chunk's first read with its
    checksum; and memory while the scan is written.
    """
    pairs = gradients(network, names, ids)
    norms = [{n: block_norms(pair[i], BLOCK) for n, pair in pairs.items()} for i in (0, 1)]
    texts, path = [""] * (len(ids) - 1), place / "long.mscan"
    del pairs
    memory = []
    with ScanWriter(path, model="seed", model_digest="", modules=modules_of(seed)) as writer:
        for _ in range(-(-asked.tokens // len(texts))):
            writer.append(*norms, texts, source="random")
            memory.append(_resident())
    start = time.perf_counter()
    scan = open_scan(path)
    opened = time.perf_counter() - start
    draw = random.Random(0)
    tokens = [draw.randrange(len(scan)) for _ in range(asked.reads)]
    layers = [(draw.randrange(seed.layers), draw.randrange(len(scan))) for _ in range(asked.reads)]
    token = [_seconds(lambda i=i: scan.token(i)) for i in tokens]
    layer = [_seconds(lambda where=where: scan.layer(where[0], where[1], where[1] + 1)) for where in layers]
    return {
        "what": "replay",
        "tokens": len(scan),
        "bytes": path.stat().st_size,
        "open_ms": 1e3 * opened,
        "token_ms_median": 1e3 * statistics.median(token),
        "token_ms_worst": 1e3 * max(token),
        "layer_ms_median": 1e3 * statistics.median(layer),
        "layer_ms_worst": 1e3 * max(layer),
        "writing_growth_bytes": max(memory) - memory[0],
    }


def _seconds(step: Callable) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _picture(rows: list[dict]) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    kinds = {"full": "forward + backward\nwith weight gradients", "domains": "scan with\nnode sums", "scan": "scan"}
    left.barh(list(kinds.values()), [rows[0][f"{kind}_seconds"] for kind in kinds], color="#4c6fbf")
    left.set_xlabel("seconds per window")
    reads = ["token_ms_median", "token_ms_worst", "layer_ms_median", "layer_ms_worst"]
    right.barh([name.replace("_ms_", ", ") for name in reads], [rows[1][name] for name in reads], color="#1f8a70")
    right.axvline(50, color="#c8553d", linestyle=":")
    right.set_xlabel(f"milliseconds, {rows[1]['tokens']} tokens")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
