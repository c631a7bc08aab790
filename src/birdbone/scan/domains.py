"""What the nodes do on each of several labelled text sets: one pass, kept up to the last window if it is cut off.

Legend: T tokens of a window, N windows of a label, S sampled tokens over all labels.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birdbone.algo.sps import NodeMoments, node_sps
from birdbone.datasets.mscan import ScanWriter
from birdbone.errors import ConfigError
from birdbone.model.layout import Layout, Nodes
from birdbone.model.network import device_of
from birdbone.model.observing.gradients import gradients, node_values
from birdbone.progress import track
from birdbone.scan.record import append

CHECKPOINT = 8
"""Windows between two checkpoints of the sums; their blocks are in the scan after each one."""
SUMS = [field.name for field in fields(NodeMoments)[1:]]


class LabelSums:
    """Moments of every node on one label's windows, and their values at the sampled tokens."""

    def __init__(self) -> None:
        self.windows = 0
        self.moments: dict[Nodes, NodeMoments] = {}
        self.samples: dict[Nodes, list[Tensor]] = {}

    def add(self, values: dict[Nodes, tuple[Tensor, Tensor, int]], positions: Tensor) -> None:
        """Take in one window: values of ``node_values``, of which ``positions`` are sampled."""
        for key, (h, grad, count) in values.items():
            self.moments[key] = self.moments.get(key, NodeMoments.zero(count)).add(h, grad)
            at = h[positions.to(h.device)].float().cpu()
            at = at if at.shape[1] == count else at.unflatten(1, (count, -1)).norm(dim=-1)
            self.samples.setdefault(key, []).append(at.T.half())
        self.windows += 1

    def profile(self, key: Nodes) -> Tensor:
        """A node's values at this label's sampled tokens, float16 [nodes, S / labels]."""
        return torch.cat(self.samples[key], dim=1).contiguous()

    def save(self, path: Path) -> None:
        """One safetensors file, replaced at once."""
        tensors = {f"{key.name}|{n}": getattr(m, n).clone() for key, m in self.moments.items() for n in SUMS}
        tensors |= {f"{key.name}|profile": self.profile(key) for key in self.samples}
        tokens = {key.name: m.tokens for key, m in self.moments.items()}
        temporary = path.with_name(f".{path.name}.tmp")
        save_file(tensors, temporary, {"windows": str(self.windows), "tokens": json.dumps(tokens)})
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> LabelSums:
        """What ``save`` wrote; empty where there is nothing."""
        self = cls()
        if not path.is_file():
            return self
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            about = file.metadata()
        self.windows = int(about["windows"])
        for key, tokens in json.loads(about["tokens"]).items():
            nodes = Nodes.parse(key)
            self.moments[nodes] = NodeMoments(tokens, *(tensors[f"{key}|{n}"] for n in SUMS))
            self.samples[nodes] = [tensors[f"{key}|profile"]]
        return self


def sample_tokens(windows: dict[str, Tensor], count: int, random_seed: int) -> dict[str, Tensor]:
    """As many tokens from each label, ``count`` in all: label -> [S / labels, 2] of (window, position), in order.

    A window's last position has no gradient and is never drawn. Raises ConfigError when a label has too few.
    """
    share = count // len(windows)
    found = {}
    for number, (label, ids) in enumerate(windows.items()):
        places = torch.cartesian_prod(torch.arange(len(ids)), torch.arange(ids.shape[1] - 1))
        if len(places) < max(share, 1) or share < 1:
            raise ConfigError(
                f"parameter domains.profile_tokens: {count} over {len(windows)} sets are {share} each, but "
                f"{label} has {len(places)} scanned tokens; give at least one and at most that, or raise scan_tokens"
            )
        generator = torch.Generator().manual_seed(random_seed * 1009 + number)
        chosen = torch.randperm(len(places), generator=generator)[:share].sort().values
        found[label] = places[chosen]
    return found


def scan_label(
    network: nn.Module,
    layout: Layout,
    windows: Tensor,
    sampled: Tensor,
    label: str,
    texts: list[list[str]],
    writer: ScanWriter,
    written: int,
    block: int,
    state: Path,
) -> LabelSums:
    """Scan one label's windows [N, T]: blocks go to ``writer`` (its first ``written`` windows are there already),
    sums to ``state`` every few windows and at the end, from where an unfinished scan goes on.
    """
    device = device_of(network)
    sums = LabelSums.load(state)
    done = min(sums.windows, written)
    sums = sums if sums.windows == done else LabelSums()
    for row in track(range(sums.windows, len(windows)), f"scan: {label}", unit="window"):
        pairs = gradients(network, layout.linears, windows[row].to(device))
        if row >= written:
            append(writer, pairs, texts[row], label, block)
        positions = sampled[sampled[:, 0] == row, 1]
        sums.add(node_values(network, layout, pairs), positions)
        if (row + 1) % CHECKPOINT == 0 or row + 1 == len(windows):
            sums.save(state)
    return sums


def profile_tensors(sums: dict[str, LabelSums], sampled: dict[str, Tensor]) -> dict[str, Tensor]:
    """Per node kind and layer: ``profile`` float16 [nodes, S], the same tokens everywhere, and per label float32
    [labels, nodes] ``activity`` (mean |h|), ``sensitivity`` (mean |∂L/∂h|), ``fisher`` (mean h² · mean g²) and
    ``sps`` (mean ∫SPS, z within the layer). ``sampled.domain``, ``.window``, ``.position`` int32 [S].
    """
    labels = list(sums)
    places = [torch.full((len(sampled[label]), 1), i) for i, label in enumerate(labels)]
    domain, window, position = torch.cat(
        [torch.cat([place, sampled[label]], 1) for place, label in zip(places, labels, strict=True)]
    ).T.to(torch.int32)
    tensors = {
        "sampled.domain": domain.contiguous(),
        "sampled.window": window.contiguous(),
        "sampled.position": position.contiguous(),
    }
    for key in sums[labels[0]].moments:
        tensors[f"{key.name}.profile"] = torch.cat([sums[label].profile(key) for label in labels], 1).contiguous()
        own = [sums[label].moments[key] for label in labels]
        tensors[f"{key.name}.activity"] = torch.stack([m.h / m.tokens for m in own]).float()
        tensors[f"{key.name}.sensitivity"] = torch.stack([m.g / m.tokens for m in own]).float()
        tensors[f"{key.name}.fisher"] = torch.stack([m.h_squared * m.g_squared / m.tokens**2 for m in own]).float()
        tensors[f"{key.name}.sps"] = torch.cat([torch.stack(node_sps([m], kind="mean")) for m in own])
    return tensors
