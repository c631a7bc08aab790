"""One model judged on guard text document by document, only until its verdict is clear.

Legend: N windows, D documents of a domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from birdbone.algo.perplexity import bound_of, by_document, judges
from birdbone.algo.sequential import FEW, Foreseen, deviations, foresee
from birdbone.model.judging.evaluate import MEASURED, scored
from birdbone.model.judging.judge import figures_of
from birdbone.model.judging.reference import Reference
from birdbone.progress import track
from birdbone.text.texts import Domain

TURN = 4
"""Windows that one domain has read at least, before the next has its turn."""


@dataclass(frozen=True)
class Rule:
    """When a model is accepted: no domain's perplexity change, against the better of the seed and
    ``control``, may exceed ``limit`` with ``errors`` of its standard errors added. A verdict may
    come before all is read where the chance that all would say otherwise is about ``error`` at
    most; 0: all is always read.
    """

    limit: float
    errors: float
    error: float
    control: dict[str, dict] | None
    random_seed: int


@dataclass(frozen=True)
class Verdict:
    """Of the domain with the largest bound. Where not all was read, change and bound are what all
    is expected to say. read: share of the windows.
    """

    domain: str
    change: float
    bound: float
    accepted: bool
    read: float


class Hearing:
    """A model's reading of the guard text, as far as it went."""

    def __init__(
        self,
        reference: Reference,
        domains: dict[str, Domain],
        rule: Rule,
        helpers: dict[str, np.ndarray],
        label: str,
    ) -> None:
        """reference: of the same domains' windows. helpers: what hearings of models near this one
        gave as ``deviations``.
        """
        self.rule, self.label = rule, label
        each = replace(rule, error=rule.error / len(domains))
        self._parts = [
            _Part(name, domain, reference, each, helpers.get(name))
            for name, domain in domains.items()
        ]

    def until_clear(self, network: nn.Module) -> Verdict:
        """Read document by document until the verdict is clear, or all is read."""
        return self._hear(network, early=self.rule.error > 0)

    def finish(self, network: nn.Module) -> Verdict:
        """Read all that waits; the verdict is then that of the whole guard text."""
        return self._hear(network, early=False)

    @property
    def complete(self) -> bool:
        """Whether all is read."""
        return all(part.complete for part in self._parts)

    @property
    def figures(self) -> dict[str, dict]:
        """Per domain that is read to the end, see ``domain_figures``."""
        return {part.name: part.figures for part in self._parts if part.complete}

    def deviations(self) -> dict[str, np.ndarray]:
        """Of the domains that are read to the end: what a hearing of a model near this one may go
        by.
        """
        return {part.name: deviations(*part.sums()) for part in self._parts if part.complete}

    def record(self) -> dict[str, dict]:
        """Per domain, of each document read: its number, loss of what it is judged against and its
        own (nats), tokens.
        """
        return {part.name: part.record() for part in self._parts}

    def _hear(self, network: nn.Module, early: bool) -> Verdict:
        left = sum(part.left for part in self._parts)
        for _ in track(self._turns(network, early), self.label, left, "window"):
            pass
        worst = max((p for p in self._parts if p.foreseen), key=lambda part: part.bound)
        left = sum(part.left for part in self._parts)
        read = 1 - left / sum(len(part.domain.windows) for part in self._parts)
        passes = worst.bound <= self.rule.limit
        return Verdict(worst.name, worst.foreseen.change, worst.bound, passes, read)

    def _turns(self, network: nn.Module, early: bool) -> Iterator[None]:
        """A step for each window: every domain in turn, until one is lost or none is open."""
        while open_ := [p for p in self._parts if not (p.clear if early else p.complete)]:
            for part in open_:
                yield from part.read(network)
                if early and part.clear and part.bound > self.rule.limit:
                    return


class _Part:
    """One domain, as far as it was read."""

    def __init__(
        self,
        name: str,
        domain: Domain,
        reference: Reference,
        rule: Rule,
        helper: np.ndarray | None,
    ) -> None:
        self.name, self.domain, self.reference, self.rule = name, domain, reference, rule
        documents, self._row_documents = domain.documents.unique(return_inverse=True)
        random = np.random.default_rng(rule.random_seed)
        self.waiting: list[int] = random.permutation(len(documents)).tolist()
        """The documents that wait [≤ D], the next one first."""
        self.measured = torch.full((len(MEASURED), len(domain.windows)), torch.nan).double()
        """What was measured of each window [4, N]; NaN where it was not read."""
        self.counts = reference.counts(name, domain.windows)
        self.helper, self.control = helper, (rule.control or {}).get(name)
        self.figures: dict = {}
        """See ``domain_figures``; empty before all is read."""
        self.foreseen: Foreseen | None = None
        """What all will say; measured once all is read, None before enough is."""

    @property
    def left(self) -> int:
        """Windows that were not read."""
        return int(self.measured[0].isnan().sum())

    @property
    def complete(self) -> bool:
        """Whether all is read."""
        return not self.waiting

    @property
    def bound(self) -> float:
        """What all says, or is expected to say."""
        return self.foreseen.bound

    @property
    def clear(self) -> bool:
        """Whether what is read says on which side of the limit the domain ends."""
        seen, limit = self.foreseen, self.rule.limit
        return seen is not None and (seen.bound_high <= limit or seen.bound_low > limit)

    def read(self, network: nn.Module) -> Iterator[None]:
        """The next documents, and what they say. A step for each window."""
        rows = torch.tensor([], dtype=torch.long)
        while self.waiting and len(rows) < TURN:
            document = self.waiting.pop(0)
            rows = torch.cat([rows, (self._row_documents == document).nonzero()[:, 0]])
        device = next(network.parameters()).device
        for pair in rows.split(2):
            theirs = self.reference.logits(self.name, pair, device)
            self.measured[:, pair] = scored(network, theirs, self.domain.windows[pair]).T
            yield from pair
        self._sum_up()

    def sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each document read, by number: loss of what it is judged against, its own, tokens."""
        rows = ~self.measured[0].isnan()
        reading = self.reference.readings.get(self.name)
        before = self.measured[1] if reading is None else reading.nll
        columns = [
            by_document(values[rows], self._row_documents[rows]).numpy()
            for values in (before, self.measured[0], self.counts)
        ]
        if self.control and judges(self.control, self.control["seed_perplexity"]):
            columns[0] = np.asarray(self.control["document_nll"])[self._documents_read(rows)]
        return tuple(columns)

    def record(self) -> dict[str, list]:
        """Of each document read: its number, what it is judged against, its own loss, tokens."""
        read = self._documents_read(~self.measured[0].isnan())
        before, after, tokens = (column.tolist() for column in self.sums())
        return {"documents": read.tolist(), "before": before, "after": after, "tokens": tokens}

    def _documents_read(self, rows: Tensor) -> np.ndarray:
        return self._row_documents[rows].unique().numpy()

    def _sum_up(self) -> None:
        rule = self.rule
        read = self._documents_read(~self.measured[0].isnan())
        if self.complete:
            measured = dict(zip(MEASURED, self.measured, strict=True))
            self.figures = figures_of(
                measured, self.reference, self.name, self.domain, rule.random_seed
            )
            change, bound = bound_of(self.figures, self.control, rule.errors, rule.random_seed)
            self.foreseen = Foreseen(change, bound, bound, bound)
        elif len(read) >= FEW:
            total = (len(read) + len(self.waiting), float(self.counts.sum()))
            helper = None if self.helper is None else self.helper[read]
            self.foreseen = foresee(*self.sums(), total, rule.errors, rule.error, helper)
