"""The seed on guard and test text, run once: every judgement after that makes its logits from the
final states.

Legend: N windows, T tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.head import Head, hidden_states
from birdbone.model.judging.evaluate import window_nll
from birdbone.progress import track

CPU = torch.device("cpu")
READ = "read."


@dataclass(frozen=True)
class Reading:
    """How a model with another vocabulary reads the text of the same windows.

    nll, tokens: float64 [N], the summed negative log-likelihood (nats) and the tokens it scores.
    """

    nll: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Readings:
    """How the untrimmed seed reads guard and test text: split -> domain -> its reading."""

    splits: dict[str, dict[str, Reading]] = field(default_factory=dict)

    def of(self, split: str) -> dict[str, Reading]:
        """One split's; none where nothing was trimmed."""
        return self.splits.get(split, {})

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``guard.<domain>``, ``test.<domain>``, float64 [2, N]."""
        tensors = {
            f"{split}.{domain}": torch.stack([reading.nll, reading.tokens])
            for split, domains in self.splits.items()
            for domain, reading in domains.items()
        }
        return tensors, {}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], _about: dict) -> Readings:
        """What ``to_tensors`` gave."""
        splits: dict[str, dict[str, Reading]] = {}
        for name, values in tensors.items():
            split, _, domain = name.partition(".")
            splits.setdefault(split, {})[domain] = Reading(*values)
        return cls(splits)


@dataclass(frozen=True)
class Reference:
    """The seed and what it made of one split's text: domain -> final states [N, T, H], float32.

    readings: domain -> how the model reads it that the seed was trimmed from; what is lost counts
    from there.
    """

    seed: Checkpoint
    states: dict[str, Tensor]
    readings: dict[str, Reading] = field(default_factory=dict)

    def logits(self, domain: str, rows: slice | Tensor, device: torch.device) -> Tensor:
        """The seed's logits [rows, T, V] of one domain's windows, on ``device``."""
        return Head.of(self.seed).to(device).logits(self.states[domain][rows].to(device))

    def counts(self, domain: str, windows: Tensor) -> Tensor:
        """The tokens that losses of each window [N, T] are per: [N], float64."""
        reading = self.readings.get(domain)
        if reading is not None:
            return reading.tokens
        return torch.full((len(windows),), float(windows.shape[1] - 1), dtype=torch.float64)

    def losses(self, domain: str, windows: Tensor, device: torch.device = CPU) -> Tensor:
        """The seed's summed negative log-likelihood of each of one domain's windows [N, T]: [N],
        nats, float64.
        """
        rows = [slice(start, start + 2) for start in range(0, len(windows), 2)]
        return torch.cat(
            [window_nll(self.logits(domain, r, device), windows[r].to(device).long()) for r in rows]
        )


@dataclass(frozen=True)
class States:
    """The seed's final states on guard and on test text: domain -> float32 [N, T, H].

    readings: the untrimmed seed's own; none where nothing was trimmed.
    """

    guard: dict[str, Tensor]
    test: dict[str, Tensor]
    readings: Readings = field(default_factory=Readings)

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``guard.<domain>``, ``test.<domain>``, and readings."""
        tensors = {f"guard.{domain}": states for domain, states in self.guard.items()}
        tensors |= {f"test.{domain}": states for domain, states in self.test.items()}
        read, _ = self.readings.to_tensors()
        tensors |= {f"{READ}{name}": values for name, values in read.items()}
        return tensors, {"splits": ["guard", "test"]}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], _about: dict) -> States:
        """What ``to_tensors`` gave."""
        splits: dict[str, dict[str, Tensor]] = {"guard": {}, "test": {}}
        read: dict[str, Tensor] = {}
        for name, values in tensors.items():
            if name.startswith(READ):
                read[name.removeprefix(READ)] = values
            else:
                split, _, domain = name.partition(".")
                splits[split][domain] = values
        return cls(**splits, readings=Readings.from_tensors(read, {}))

    def of(self, seed: Checkpoint, split: str) -> Reference:
        """The seed on one split's text."""
        states = {"guard": self.guard, "test": self.test}[split]
        return Reference(seed, states, self.readings.of(split))


@torch.no_grad()
def final_states(network: nn.Module, windows: Tensor, label: str) -> Tensor:
    """What the head reads, after the final norm: token windows [N, T] -> float32 [N, T, H] on the
    CPU.
    """
    device = next(network.parameters()).device
    return torch.cat(
        [
            hidden_states(network, ids.to(device).long())[-1].float().cpu()
            for ids in track(windows.split(2), label, unit="window pairs")
        ]
    )
