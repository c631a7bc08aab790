"""Choices of types, each rounded and judged on guard text."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from birdbone.gguf.plan import priced_together
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.harness import guarded
from birdbone.model.judging.hearing import Hearing, Rule, Verdict
from birdbone.model.network import build
from birdbone.model.rounding.rounder import Rounder
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.quantize.search import cost_of, size_of
from birdbone.pipelines.yardstick import Yardstick


@dataclass
class Trial:
    """One choice of types. bytes: of all tensors; predicted: its cost in nats per token."""

    types: dict[str, str]
    bytes: int
    predicted: float
    hearing: Hearing
    verdict: Verdict
    tasks: dict = field(default_factory=dict)
    lost: dict = field(default_factory=dict)

    @property
    def bound(self) -> float:
        return self.verdict.bound

    @property
    def accepted(self) -> bool:
        """By the guard's text, and by the benchmark tasks if it has any."""
        return self.verdict.accepted and not self.lost


class Trials:
    """Everything that was tried, in order."""

    def __init__(
        self,
        rounder: Rounder,
        yardstick: Yardstick,
        rule: Rule,
        seed_tasks: dict,
        compute: Compute,
    ) -> None:
        self.rounder, self.yardstick, self.rule = rounder, yardstick, rule
        self.seed_tasks, self.compute = seed_tasks, compute
        self.options, self._members = priced_together(rounder.checkpoint, rounder.options)
        """Per tensor, or tensors that must have one type: what may be chosen."""
        self.fixed = sum(
            4 * w.numel() for n, w in rounder.checkpoint.weights.items() if n not in rounder.options
        )
        """Bytes that no choice changes."""
        self.made: list[Trial] = []
        self._helpers: dict[str, np.ndarray] = {}

    def measure(self, chosen: dict[str, str]) -> Trial:
        """Judge a choice, on as much guard text as its verdict needs. The first is read to the end:
        how each document fares tells much about the next trials.
        """
        types = {n: kind for first, kind in chosen.items() for n in self._members[first]}
        hearing = Hearing(
            self.yardstick.guard,
            self.yardstick.texts.guard,
            self.rule,
            self._helpers,
            f"trial {len(self.made) + 1}: guard",
        )
        size, cost = self.fixed + size_of(self.options, chosen), cost_of(self.options, chosen)
        state, _ = self.rounder.apply(types)
        network = build(state, self.compute.place)
        verdict = hearing.until_clear(network) if self.made else hearing.finish(network)
        trial = Trial(types, size, cost, hearing, verdict)
        self._ask_tasks(trial, state)
        self._helpers |= hearing.deviations()
        self.made.append(trial)
        return trial

    def best(self) -> Trial:
        """The smallest that the guard accepts on all its text; where none is, the one of the lowest
        bound.
        """
        while True:
            passed = [t for t in self.made if t.accepted]
            best = min(passed, key=_size) if passed else min(self.made, key=lambda t: t.bound)
            if best.hearing.complete:
                return best
            state, _ = self.rounder.apply(best.types)
            best.verdict = best.hearing.finish(build(state, self.compute.place))
            self._ask_tasks(best, state)

    def _ask_tasks(self, trial: Trial, state: Checkpoint) -> None:
        if trial.verdict.accepted and not trial.tasks:
            trial.tasks, trial.lost = guarded(
                "rounded",
                state,
                self.yardstick.tokenizer_folder,
                self.seed_tasks,
                self.compute.device,
                self.compute.random_seed,
            )

    def record(self) -> dict:
        """Every trial document by document, for ``benchmarks/sequential.py``."""
        return {
            "limit": self.rule.limit,
            "errors": self.rule.errors,
            "trials": [{"bytes": t.bytes, "domains": t.hearing.record()} for t in self.made],
        }

    def report(self) -> list[dict]:
        """A row for each trial."""
        return [
            {
                "bytes": trial.bytes,
                "predicted": trial.predicted,
                "worst_domain": trial.verdict.domain,
                "worst_change": trial.verdict.change,
                "bound": trial.verdict.bound,
                "accepted": trial.accepted,
                "read": trial.verdict.read,
            }
            for trial in self.made
        ]


def _size(trial: Trial) -> int:
    return trial.bytes
