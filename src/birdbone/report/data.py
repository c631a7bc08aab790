"""What the report is made from: plain values that survive JSON, from the pipeline's last nodes.

Everything optional may be left out; the page then says what was not measured. Shares are fractions
(0.02 = 2 %), sizes are bytes, logarithms natural, speeds tokens per second, times seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict

Measure = float | Sequence[float]
"""A figure, alone or as [value, low, high] with its 95 % bootstrap interval over documents."""


class Baseline(TypedDict):
    """What the seed came from; it marks a de-quantized model, which is no original."""

    source: str
    """The hub id, or the file's name."""
    format: str
    """How its weights were stored there: ``F16``, ``BF16``, ``Q4_1`` …"""
    dequantized: bool
    """True when the seed's weights were computed back from a quantized file."""


class File(TypedDict):
    """One row of the sizes-and-quality table: a file that llama.cpp runs."""

    name: str
    role: Literal["ours", "seed", "trimmed", "source", "peer"]
    """``seed``: the seed as f16. ``trimmed``: the same with the job's tokens alone. ``source``: its
    original file. ``peer``: llama.cpp's own.
    """
    bytes: int
    bits_per_weight: NotRequired[float]
    perplexity: NotRequired[dict[str, float]]
    """Per domain, on the test texts, by llama.cpp."""
    tokens_per_second: NotRequired[float]
    macs_per_token: NotRequired[int]
    kl: NotRequired[Measure]
    top1: NotRequired[Measure]
    substituted: NotRequired[dict[str, int]]
    """Tensors that did not get the type asked for: ``{"Q4_K -> Q5_0": 180}``. Empty: none."""


class Domain(TypedDict):
    """Perplexity of one test domain through the run, measured in PyTorch on the same texts."""

    domain: str
    before: float
    control: NotRequired[float]
    """The seed given the same healing, uncompressed."""
    healed: NotRequired[float]
    """The last accepted wave, before rounding."""
    after: float
    """The weights that the export carries."""
    change: Measure
    """after / before − 1."""
    control_change: NotRequired[Measure]
    """control / before − 1."""
    judged_change: NotRequired[Measure]
    """after against the better of seed and control: the figure that is judged."""
    kl: NotRequired[Measure]
    top1: NotRequired[Measure]
    documents: NotRequired[int]
    tokens: NotRequired[int]


class Canaries(TypedDict):
    """Share of one domain's canaries that were answered right."""

    domain: str
    items: int
    before: float
    control: NotRequired[float]
    after: float
    change: NotRequired[Measure]
    """after − before, in shares."""


class Wave(TypedDict):
    """One row of the wave table, as the guard wrote it."""

    wave: int
    verdict: str
    """``accepted``, ``provisional``, ``reverted`` or ``stopped``."""
    target: NotRequired[float]
    """Share of block parameters to remove by the end of this wave."""
    reached: NotRequired[float]
    """Share of block parameters removed so far."""
    nodes_left: NotRequired[int]
    perplexity: NotRequired[float]
    """On the guard domain that moved most."""
    delta: NotRequired[Measure]
    """Perplexity change of that domain, against the better of seed and control."""
    kl: NotRequired[Measure]
    seconds: NotRequired[float]
    note: NotRequired[str]


class Step(TypedDict):
    """The model after one step: ``seed``, ``vocabulary``, ``wave 1: pruning`` … ``rounding``."""

    step: str
    bytes: int
    """Of an f16 file; of the export after rounding."""
    macs_per_token: int
    kl: Measure
    """From the seed, on a little guard text. After ``vocabulary``: of the trimmed seed from the
    whole one; from there on, from the trimmed seed.
    """
    control: NotRequired[str]
    """What stands beside the step."""
    control_kl: NotRequired[Measure]
    verdict: NotRequired[str]
    """Of a wave that is no part of the export."""


class HealingStep(TypedDict):
    """One point of a healing curve."""

    wave: NotRequired[int]
    step: int
    loss: float
    kl: NotRequired[float]
    cross_entropy: NotRequired[float]


class HealingCheck(TypedDict):
    """Loss on check text, which nothing learns from, of the model after so many steps."""

    wave: NotRequired[int]
    steps: int
    loss: float


class Layer(TypedDict):
    """One decoder block before and after."""

    layer: int
    ffn_width: int
    ffn_width_seed: int
    kv_groups: int
    kv_groups_seed: int
    weight_sparsity: NotRequired[float]
    """Share of exact zeros in the block's linear weights as exported."""
    type: NotRequired[str]
    """GGUF type of most of the block's weights."""


class Importance(TypedDict):
    """What the scan and the topology saw in the seed."""

    score: str
    """Name of the score that ranked the nodes, e.g. ``taylor``."""
    quantiles: NotRequired[list[list[float]]]
    """Per layer, evenly spaced quantiles (0 … 1) of its nodes' scores."""
    kept: NotRequired[list[list[float]]]
    """Per layer, the share of neurons kept in equal bins of the seed's neuron order."""
    clusters: NotRequired[list[int]]
    """Per layer, the number of clusters."""
    persistence: NotRequired[list[list[float | None]]]
    """[birth, death] per feature of one layer or all; a death of None never happens."""
    threshold: NotRequired[float]
    """Prominence above which a feature counts as a cluster."""


class Generation(TypedDict):
    """The same prompt continued greedily before and after."""

    prompt: str
    before: str
    after: str


class Note(TypedDict):
    """Something the reader must know."""

    kind: Literal["baseline", "limit", "fallback", "note"]
    text: str


def titled(name: str, job: str | None) -> str:
    """What a model for one job is called."""
    return f"{name} for {job}" if job else name


@dataclass(frozen=True)
class ReportData:
    """Everything that ``report.html``, the terminal summary and the model card show.

    model: the name for people. base_model: hub id for the card. license: its SPDX id, lower case.
    architecture: the family as exported (``llama``, ``deci`` …). baseline: see ``Baseline``.
    verdict: ``accepted`` or ``rejected`` for the export. reason: why, in a sentence. limit: the
    worst perplexity change allowed. kl, top1: against the seed over all test text. parameters_seed,
    parameters_left: weights of the seed and of the export. job: what the model was made for, where
    for one thing. tokens: [kept, of], where any went. elsewhere: what it lost outside that, which
    nothing judges. steps: what each did to size and quality. waves, healing, healing_checks: in
    order. target and reached: share of block parameters to remove and removed. settings: the
    resolved parameter tree. digests: name -> SHA-256. reproduce: the command, under comments with
    versions and seed.
    """

    model: str
    base_model: str
    license: str
    architecture: str
    baseline: Baseline
    verdict: str
    reason: str
    limit: float
    files: list[File]
    domains: list[Domain]
    parameters_seed: int
    parameters_left: int
    job: str | None = None
    tokens: Sequence[int] | None = None
    elsewhere: list[Domain] = field(default_factory=list)
    target: float | None = None
    reached: float | None = None
    kl: Measure | None = None
    top1: Measure | None = None
    canaries: list[Canaries] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    healing: list[HealingStep] = field(default_factory=list)
    healing_checks: list[HealingCheck] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    importance: Importance | None = None
    generations: list[Generation] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    reproduce: str = ""

    def file(self, role: str) -> File | None:
        """The first file of this role, if there is one."""
        return next((row for row in self.files if row["role"] == role), None)

    @property
    def title(self) -> str:
        """The model's name, what it is for, and what that cost elsewhere."""
        return titled(self.model, self.job)

    @property
    def worst(self) -> Domain | None:
        """The domain whose judged change is largest."""
        return max(self.domains, key=lambda row: value(judged(row)), default=None)

    @property
    def baseline_note(self) -> str:
        """The sentence about the baseline that no report may leave out, with both size ratios."""
        ours, seed, source = (self.file(role) for role in ("ours", "seed", "source"))
        against = [
            f"{_size_ratio(row['bytes'], ours['bytes'])} than {name}"
            for row, name in ((seed, "the seed at f16"), (source, "the file the seed came from"))
            if ours and row
        ]
        origin = (
            "The baseline is a de-quantized model: the seed's weights were computed back from "
            f"{self.baseline['format']} in {self.baseline['source']}, so it is no better than that "
            "file."
            if self.baseline["dequantized"]
            else f"The baseline is {self.baseline['source']}, as published."
        )
        return f"{origin} The export is {' and '.join(against)}." if against else origin


def _size_ratio(theirs: int, ours: int) -> str:
    ratio = max(theirs, ours) / min(theirs, ours)
    return f"{ratio:.2f} times {'smaller' if ours <= theirs else 'larger'}"


def value(measure: Measure) -> float:
    """The figure itself, without its interval."""
    return float(measure[0] if isinstance(measure, Sequence) else measure)


def judged(row: Domain) -> Measure:
    """The change that counts: against the better of seed and control where a control was run."""
    return row.get("judged_change", row["change"])
