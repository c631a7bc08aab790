"""The seed on guard and test text, run once: every judgement after that makes its logits from the
final states.

Legend: N windows, T tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.head import Head, hidden_states
from birdbone.model.judging.evaluate import window_nll
from birdbone.progress import track

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Reference:
    """The seed and what it made of one split's text: domain -> final states [N, T, H], float32."""

    seed: Checkpoint
    states: dict[str, Tensor]

    def logits(self, domain: str, rows: slice, device: torch.device) -> Tensor:
        """The seed's logits [rows, T, V] of one domain's windows, on ``device``."""
        return Head.of(self.seed).to(device).logits(self.states[domain][rows].to(device))

    def losses(self, domain: str, windows: Tensor, device: torch.device = CPU) -> Tensor:
        """The seed's summed negative log-likelihood of each of one domain's windows [N, T]: [N],
        nats, float64.
        """
        rows = [slice(start, start + 2) for start in range(0, len(windows), 2)]
        return torch.cat([window_nll(self.logits(domain, r, device), windows[r].to(device).long()) for r in rows])


@dataclass(frozen=True)
class States:
    """The seed's final states on guard and on test text: domain -> float32 [N, T, H]."""

    guard: dict[str, Tensor]
    test: dict[str, Tensor]

    def to_tensors(self) -> tuple[dict[str, Tensor], dict]:
        """As ``ObjectFolder`` stores it: ``guard.<domain>``, ``test.<domain>``."""
        tensors = {f"guard.{domain}": states for domain, states in self.guard.items()}
        tensors |= {f"test.{domain}": states for domain, states in self.test.items()}
        return tensors, {"splits": ["guard", "test"]}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], _about: dict) -> States:
        """What ``to_tensors`` gave."""
        splits: dict[str, dict[str, Tensor]] = {"guard": {}, "test": {}}
        for name, states in tensors.items():
            split, _, domain = name.partition(".")
            splits[split][domain] = states
        return cls(**splits)


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
