"""What a step did to a model: its size, and its divergence from the seed on a little guard text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdbone.algo.bootstrap import mean_interval
from birdbone.algo.perplexity import by_document
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.head import Head, hidden_states
from birdbone.model.judging.evaluate import POSITIONS, compare
from birdbone.model.judging.reference import Reference
from birdbone.model.network import build
from birdbone.progress import track
from birdbone.text.texts import Domain


@dataclass(frozen=True)
class Tracer:
    """Measures models on ``tokens`` of guard text, every domain alike, in windows spread evenly
    over it. Nothing is chosen or accepted by what it says.
    """

    reference: Reference
    domains: dict[str, Domain]
    tokens: int
    place: str
    random_seed: int

    def step(
        self, name: str, checkpoint: Checkpoint, label: str, control: tuple[str, Checkpoint] | None
    ) -> dict:
        """A row of the report's table: size and KL after the step, and its control's KL."""
        row = {
            "step": name,
            "parameters": checkpoint.parameters,
            "macs_per_token": checkpoint.macs_per_token,
            "kl": self.kl(checkpoint, f"{label}: after {name}"),
        }
        if control:
            what, other = control
            row["control"] = {"what": what, "kl": self.kl(other, f"{label}: {what}")}
        return row

    def kl(self, checkpoint: Checkpoint, label: str) -> list[float]:
        """KL(seed || model) in nats per token: [mean, low, high], by documents."""
        if checkpoint.digest == self.reference.seed.digest:
            return [0.0, 0.0, 0.0]
        network = build(checkpoint, self.place)
        sums, counts = [], []
        for name, domain in self.domains.items():
            rows = traced_rows(domain, self.tokens // len(self.domains))

            def seed_logits(part: slice, name: str = name, rows: Tensor = rows) -> Tensor:
                return self.reference.logits(name, rows[part], self.place)

            measured = compare(network, seed_logits, domain.windows[rows], f"{label}, {name}")
            documents = domain.documents[rows]
            scored = torch.full((len(rows),), domain.windows.shape[1] - 1.0)
            sums.append(by_document(measured["kl"], documents))
            counts.append(by_document(scored, documents))
        if sum(map(len, sums)) < 2:
            return [float(sums[0].sum() / counts[0].sum())] * 3
        return list(mean_interval(torch.cat(sums), torch.cat(counts), seed=self.random_seed))


@torch.no_grad()
def vocabulary_kl(
    network: nn.Module, head: Head, kept: list[Tensor], encoded: list[Tensor], label: str
) -> list[list[float]]:
    """KL(the model with these tokens alone || the model) in nats per token, for each list of ids in
    ``kept``: [mean, low, high], by sequence.

    It is minus the log of the probability that the kept tokens have together. encoded: sequences of
    the model's own tokens; head: the network's.
    """
    place = head.weight.device
    sums = torch.zeros(len(kept), len(encoded), dtype=torch.float64)
    for number, ids in enumerate(track(encoded, label, unit="window")):
        states = hidden_states(network, ids[None].to(place))[-1][0, :-1]
        for part in states.split(POSITIONS):
            logs = F.log_softmax(head.logits(part).float(), -1)
            for which, tokens in enumerate(kept):
                mass = logs[:, tokens.to(place)].logsumexp(-1)
                sums[which, number] -= mass.double().sum().cpu()
    counts = torch.tensor([len(ids) - 1 for ids in encoded])
    if len(encoded) < 2:
        return [[float(each.sum() / counts.sum())] * 3 for each in sums]
    return [list(mean_interval(each, counts)) for each in sums]


def traced_rows(domain: Domain, tokens: int) -> Tensor:
    """Windows of a domain that hold so many tokens, evenly spaced."""
    rows, window = domain.windows.shape
    count = min(rows, max(1, tokens // window))
    return torch.linspace(0, rows - 1, count).round().long()
