"""The whole parameter tree: every key, its type and range. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from birdbone.errors import ConfigError

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """No unknown keys, every number finite, no truth value taken for a number, no text empty."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_min_length=1)

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any, check: Callable[[Any], Any]) -> Any:
        checked = check(given)
        if _counted(given, checked):
            raise ValueError("should be a number, not true or false")
        return checked


def _counted(given: Any, checked: Any) -> bool:
    """Whether a truth value, or one inside a list or group, became a number."""
    if isinstance(given, dict) and isinstance(checked, dict):
        return any(_counted(given[key], checked.get(key)) for key in given)
    if isinstance(given, list) and isinstance(checked, (list, tuple)):
        return any(map(_counted, given, checked))
    return isinstance(given, bool) and isinstance(checked, (int, float)) and not isinstance(checked, bool)


class Model(Strict):
    """A model's name, alone or with a LoRA adapter that is merged into it first."""

    name: str
    adapter: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return given if isinstance(given, dict) else {"name": given}


def _plainest(model: Model) -> str | dict[str, str]:
    return model.name if model.adapter is None else {"name": model.name, "adapter": model.adapter}


class Preset(Strict):
    """A named model: from a pip package, a hub id, or random weights of a configuration."""

    package: str | None = None
    file: str | None = None
    hub: str | None = None
    revision: str | None = None
    random: dict | None = None
    licence: str | None = None
    base_model: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Preset:
        if sum(x is not None for x in (self.package, self.hub, self.random)) != 1:
            raise ValueError("give exactly one of package (with file), hub, random")
        return self

    @model_serializer(mode="wrap")
    def _given(self, dump: Callable[[Preset], dict]) -> dict:
        return {key: value for key, value in dump(self).items() if value is not None}


class Text(Strict):
    source: str
    chat: bool
    written_share: Annotated[float, Field(ge=0, le=1)]
    window: Annotated[int, Field(ge=8)]
    calibration_tokens: Positive
    heal_tokens: Positive
    guard_domains: Annotated[list[str], Field(min_length=1)]
    guard_tokens: Positive
    test_tokens: Positive
    canaries: str | None


class ActivationLog(Strict):
    profile_tokens: Positive


class SpsScan(Strict):
    record_tokens: Positive
    block: Positive


class Domains(Strict):
    sets: Annotated[dict[str, str], Field(min_length=2)]
    window: Annotated[int, Field(ge=8)]
    scan_tokens: Positive
    heldout_tokens: Positive
    profile_tokens: Positive


class Topology(Strict):
    neighbours: Annotated[int, Field(ge=2)]
    landmarks: Annotated[int, Field(ge=16)]
    min_cluster: Positive
    resolution: Annotated[int, Field(ge=2)]
    gain: Annotated[float, Field(gt=0, lt=0.5)]
    stability_resamples: Annotated[int, Field(ge=0)]


class Experts(Strict):
    clusters: Literal["layer", "model"]
    measure: Literal["activity", "sensitivity", "fisher"]
    homology_landmarks: Annotated[int, Field(ge=8, le=1024)]
    permutations: Annotated[int, Field(ge=9)]
    shown_tokens: Positive
    ablated: Positive
    random_sets: Annotated[int, Field(ge=2)]
    ablation_tokens: Positive


class WeightMask(Strict):
    method: Literal["none", "magnitude", "wanda", "sparsegpt", "admm"]
    sparsity: Share
    budget: Literal["uniform", "sensitivity"]
    pattern: tuple[Positive, Positive] | None

    @model_validator(mode="after")
    def _pattern_fits(self) -> WeightMask:
        if self.pattern and self.pattern[0] >= self.pattern[1]:
            raise ValueError("pattern [N, M] keeps N of M neighbours: N must be below M")
        return self


class PruneWave(Strict):
    score: str
    step: Annotated[float, Field(gt=0, lt=1)]
    clusters: Literal["layer", "model"]
    cluster_cap: Annotated[float, Field(gt=0, lt=1)]
    attention: bool
    multiple: Positive
    damping: Annotated[float, Field(gt=0)]
    weights: WeightMask

    @model_validator(mode="after")
    def _grid(self) -> PruneWave:
        if self.multiple % 32:
            raise ValueError(
                "multiple must be a multiple of 32: GGUF rows are stored in blocks of 32, 256 for *_K, *_XS"
            )
        return self


class MicroHeal(Strict):
    method: Literal["lora", "full"]
    steps: Annotated[int, Field(ge=0)]
    batch: Positive
    rank: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    ce_weight: Annotated[float, Field(ge=0)]
    state_weight: Annotated[float, Field(ge=0)]
    base: Literal["float32", "nf4"]
    merge_onto: Literal["weights", "base"]
    compute: Literal["auto", "float32", "bfloat16"]
    checkpoint_every: Positive


class Regrow(Strict):
    share: Annotated[float, Field(ge=0, le=0.05)]
    epsilon: Annotated[float, Field(ge=0)]
    tokens: Positive
    heal_steps: Annotated[int, Field(ge=0)]


class Guard(Strict):
    wave_share: Annotated[float, Field(gt=0, le=1)]
    control: bool
    tasks: dict[str, Annotated[float, Field(ge=0, lt=1)]]


class Quantize(Strict):
    types: Annotated[list[str], Field(min_length=1)]
    embedding: str
    method: Literal["gptq", "nearest"]
    orders: Annotated[list[Literal["natural", "power"]], Field(min_length=1)]
    equalize: bool
    damping: Annotated[float, Field(gt=0)]
    standard_errors: Annotated[float, Field(ge=0)]
    trials: Positive


class Export(Strict):
    dtype: Literal["float32", "float16", "bfloat16"]
    referee_tokens: Annotated[int, Field(ge=16)]
    perplexity_tokens: Positive
    speed_tokens: Positive


class Report(Strict):
    peers: list[str]
    prompts: list[str]
    generate_tokens: Positive


class TaskFile(Strict):
    form: str
    test: str
    examples: str | None = None


class Evaluate(Strict):
    tasks: list[str]
    files: dict[str, TaskFile]
    models: list[str]
    few_shot: Annotated[int, Field(ge=0)] | None
    limit: Positive | None
    batch: Positive


class RouterHeal(Strict):
    steps: Annotated[int, Field(ge=0)]
    batch: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    compute: Literal["auto", "float32", "bfloat16"]
    checkpoint_every: Positive


class Split(Strict):
    experts: Annotated[int, Field(ge=2)]
    shared_share: Annotated[float, Field(gt=0, lt=1)]
    active: Positive
    grouping: Literal["topology", "kmeans", "random"]
    tokens: Positive
    damping: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _enough_experts(self) -> Split:
        if self.active > self.experts:
            raise ValueError(f"active is {self.active}, more than the {self.experts} experts")
        return self


class Compare(Strict):
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    guard_tokens: Positive
    referee_tokens: Annotated[int, Field(ge=16)]
    speed_tokens: Positive


class Moe(Strict):
    source: Literal["seed", "accepted"]
    type: str
    split: Split
    heal: RouterHeal
    compare: Compare


class Parameters(Strict):
    """The tree of ``conf/<env>/parameters*.yml``."""

    model: Annotated[Model, AfterValidator(_plainest), PlainSerializer(lambda plainest: plainest)]
    models: dict[str, Preset]
    random_seed: Annotated[int, Field(ge=0)]
    device: str
    threads: Positive | None
    waves: Annotated[int, Field(ge=1, le=64)]
    target_sparsity: Share
    target_bytes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    max_loss: Annotated[float, Field(gt=0)]
    widths: Literal["even", "uneven"]
    text: Text
    activation_log: ActivationLog
    sps_scan: SpsScan
    domains: Domains
    topology: Topology
    experts: Experts
    prune_wave: PruneWave
    micro_heal: MicroHeal
    regrow: Regrow
    guard: Guard
    quantize: Quantize
    export: Export
    report: Report
    evaluate: Evaluate
    moe: Moe

    @field_validator("max_loss")
    @classmethod
    def _share(cls, loss: float, others: ValidationInfo) -> float:
        if loss >= 1 and others.data.get("target_bytes") is None:
            raise ValueError("is a share, 0.03 for 3 %; 1 and more only where target_bytes is what counts")
        return loss

    def values(self) -> dict:
        """The tree as nodes get it: what was given, each value of its key's type, lists and groups plain."""
        return self.model_dump(mode="json", exclude_unset=True)


def validate(tree: dict) -> Parameters:
    """The checked tree. Raises ConfigError with one line per fault, naming key and range."""
    try:
        checked = Parameters.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(map(_line, error.errors()))) from None
    if lines := _unregistered(checked):
        raise ConfigError("\n".join(lines))
    return checked


def _line(fault: dict) -> str:
    """One fault of pydantic's in a line."""
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(key, _names(Parameters), n=1)
        return f"parameter {key}: no such parameter ({f'{near[0]}? ' if near else ''}see conf/base/parameters*.yml)"
    if fault["type"] == "missing":
        return f"parameter {key}: {fault['msg']}"
    hint = ": quote it" if fault["type"] == "string_type" and isinstance(fault["input"], (bool, int, float)) else ""
    return f"parameter {key}: {fault['msg'].removeprefix('Value error, ')}{hint} (got {fault['input']!r})"


def _names(group: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every parameter's name with its groups, ``text.window``."""
    for name, field in group.model_fields.items():
        yield before + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _names(field.annotation, f"{before}{name}.")


def _unregistered(checked: Parameters) -> list[str]:
    """A line per name that its registry lacks. The registries import torch: they are asked once all else is right."""
    from birdbone.algo.grids import GRIDS, fitting
    from birdbone.algo.scores import SCORES
    from birdbone.gguf.llamacpp import FILE_TYPES
    from birdbone.text.benchmarks import forms

    names = [("prune_wave.score", checked.prune_wave.score, SCORES)]
    names += [("quantize.types", name, GRIDS) for name in checked.quantize.types]
    names += [("quantize.embedding", checked.quantize.embedding, ("auto", *GRIDS))]
    names += [("moe.type", checked.moe.type, ("F32", "F16", *GRIDS))]
    names += [("report.peers", name, FILE_TYPES) for name in checked.report.peers]
    names += [(f"evaluate.files.{n}.form", file.form, forms()) for n, file in checked.evaluate.files.items()]
    lines = [
        f"parameter {key}: should be one of {', '.join(known)} (got {name!r})"
        for key, name, known in names
        if name not in known
    ]
    if not lines and not fitting(checked.quantize.types, checked.prune_wave.multiple):
        lines = [
            f"parameter prune_wave.multiple: no type of quantize.types fits multiples of {checked.prune_wave.multiple}"
        ]
    return lines
