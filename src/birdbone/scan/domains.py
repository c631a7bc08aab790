"""What the nodes do on each of several labelled text sets, in one pass that can be resumed.

Legend: T tokens of a window, N windows of a label, S sampled tokens over all labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birdbone.algo.sps import NodeMoments, node_sps
from birdbone.datasets.mscan import ScanWriter
from birdbone.errors import ConfigError
from birdbone.model.layout import Layout
from birdbone.model.network import device_of
from birdbone.model.observing.gradients import gradients, node_values
from birdbone.model.units import Nodes, by_layer
from birdbone.progress import track
from birdbone.scan.record import append

CHECKPOINT = 8
"""Windows between two checkpoints of the sums; the scan has their blocks after each window."""
SUMS = [field.name for field in fields(NodeMoments)[1:]]


class LabelSums:
    """Moments of every node on one label's windows, and their values at the sampled tokens."""

    def __init__(self) -> None:
        self.windows = 0
        self.moments: dict[Nodes, NodeMoments] = {}
        self.samples: dict[Nodes, list[Tensor]] = {}

    def add(self, values: dict[Nodes, tuple[Tensor, Tensor, int]], positions: Tensor) -> None:
        """Add one window: values of ``node_values``, of which ``positions`` are sampled."""
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
        tensors = {
            f"{key.name}|{n}": getattr(m, n).clone()
            for key, m in self.moments.items()
            for n in SUMS
        }
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
    """Equally many tokens of each label, ``count`` in all, in order.

    Returns label -> [S / labels, 2] of (window, position). A window's last position has no gradient
    and is never drawn. Raises ConfigError when a label has too few.
    """
    share = count // len(windows)
    places = {}
    for number, (label, ids) in enumerate(windows.items()):
        candidates = torch.cartesian_prod(torch.arange(len(ids)), torch.arange(ids.shape[1] - 1))
        if len(candidates) < max(share, 1) or share < 1:
            raise ConfigError(
                f"parameter domains.profile_tokens: {count} over {len(windows)} sets are {share} "
                f"each, but {label} has {len(candidates)} scanned tokens; give at least one and at "
                "most that, or raise scan_tokens"
            )
        generator = torch.Generator().manual_seed(random_seed * 1009 + number)
        chosen = torch.randperm(len(candidates), generator=generator)[:share].sort().values
        places[label] = candidates[chosen]
    return places


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
    """Scan one label's windows [N, T]. An interrupted scan resumes from ``state``.

    Blocks go to ``writer``, which has the first ``written`` windows already. Sums go to ``state``
    every few windows and at the end.
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


@dataclass(frozen=True)
class Responses:
    """The nodes of one kind in one layer, on every label.

    profile: their values at the sampled tokens, float16 [nodes, S]. Per label, float32 [labels,
    nodes]: activity (mean |h|), sensitivity (mean |∂L/∂h|), fisher (mean h² · mean g²) and sps
    (mean ∫SPS, z within the layer).
    """

    profile: Tensor
    activity: Tensor
    sensitivity: Tensor
    fisher: Tensor
    sps: Tensor


@dataclass(frozen=True)
class DomainProfile:
    """What all nodes do on each label.

    layers: unit (``ffn``, ``kv``) -> the responses in each layer, None where it has no such nodes.
    sampled: ``domain``, ``window`` and ``position`` of the sampled tokens, int32 [S], the same
    everywhere. tokens: scanned, per label. model: the digest of the model that was scanned.
    """

    layers: dict[str, list[Responses | None]]
    sampled: dict[str, Tensor]
    labels: list[str]
    tokens: dict[str, int]
    model: str

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``ffn.<layer>.profile`` and so on, ``sampled.domain`` …"""
        tensors = {f"sampled.{name}": places for name, places in self.sampled.items()}
        for kind, layers in self.layers.items():
            for layer, responses in enumerate(layers):
                for name in RESPONSES if responses else ():
                    tensors[f"{kind}.{layer}.{name}"] = getattr(responses, name)
        return tensors, {"labels": self.labels, "tokens": self.tokens, "model": self.model}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], about: dict) -> DomainProfile:
        """What ``to_tensors`` gave."""
        sampled = {}
        records: dict[Nodes, Responses] = {}
        for name in tensors:
            stored, _, last = name.rpartition(".")
            if stored == "sampled":
                sampled[last] = tensors[name]
            elif last == RESPONSES[0]:
                values = (tensors[f"{stored}.{each}"] for each in RESPONSES)
                records[Nodes.parse(stored)] = Responses(*values)
        return cls(by_layer(records), sampled, about["labels"], about["tokens"], about["model"])


RESPONSES = [field.name for field in fields(Responses)]


def responses_of(sums: dict[str, LabelSums]) -> dict[str, list[Responses | None]]:
    """Unit -> the responses in each layer, from every label's sums."""
    measured = sorted(next(iter(sums.values())).moments)
    return by_layer({nodes: _responses(sums, nodes) for nodes in measured})


def _responses(sums: dict[str, LabelSums], nodes: Nodes) -> Responses:
    moments = [label.moments[nodes] for label in sums.values()]
    return Responses(
        profile=torch.cat([label.profile(nodes) for label in sums.values()], 1).contiguous(),
        activity=torch.stack([m.h / m.tokens for m in moments]).float(),
        sensitivity=torch.stack([m.g / m.tokens for m in moments]).float(),
        fisher=torch.stack([m.h_squared * m.g_squared / m.tokens**2 for m in moments]).float(),
        sps=torch.cat([torch.stack(node_sps([m], kind="mean")) for m in moments]),
    )


def sampled_places(sampled: dict[str, Tensor]) -> dict[str, Tensor]:
    """``domain``, ``window`` and ``position`` int32 [S] of ``sample_tokens``, label by label."""
    domain = torch.cat([torch.full((len(at),), i) for i, at in enumerate(sampled.values())])
    window, position = torch.cat(list(sampled.values())).T
    places = {"domain": domain, "window": window, "position": position}
    return {name: column.to(torch.int32).contiguous() for name, column in places.items()}
