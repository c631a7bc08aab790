"""The whole parameter tree: the run's own keys, and each stage's settings from beside the stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from birdbone.errors import ConfigError
from birdbone.pipelines import stages
from birdbone.strict import Positive, Share, Strict


class Model(Strict):
    """A model's name, alone or with a LoRA adapter that is merged into it first."""

    name: str
    adapter: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, raw: Any) -> Any:
        return raw if isinstance(raw, dict) else {"name": raw}


def _plainest(model: Model) -> str | dict[str, str]:
    return model.name if model.adapter is None else {"name": model.name, "adapter": model.adapter}


class Preset(Strict):
    """A named model: from a pip package, a GGUF file, a hub id, or random weights of a
    configuration. get: the command that fetches the file.
    """

    package: str | None = None
    file: str | None = None
    gguf: str | None = None
    get: str | None = None
    hub: str | None = None
    revision: str | None = None
    random: dict | None = None
    licence: str | None = None
    base_model: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Preset:
        if sum(x is not None for x in (self.package, self.gguf, self.hub, self.random)) != 1:
            raise ValueError("give exactly one of package (with file), gguf, hub, random")
        return self

    @model_serializer(mode="wrap")
    def _set_keys(self, dump: Callable[[Preset], dict]) -> dict:
        return {key: value for key, value in dump(self).items() if value is not None}


class Run(Strict):
    """The keys of ``conf/<env>/parameters.yml``, which belong to no stage."""

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
    specialise: Annotated[dict[str, str], Field(min_length=1, max_length=1)] | None

    @field_validator("max_loss")
    @classmethod
    def _share(cls, loss: float, others: ValidationInfo) -> float:
        if loss >= 1 and others.data.get("target_bytes") is None:
            raise ValueError(
                "is a share, 0.03 for 3 %; 1 and more only where target_bytes is what counts"
            )
        return loss

    def values(self) -> dict:
        """The tree as plain lists, groups and values; what was not set is left out."""
        return self.model_dump(mode="json", exclude_unset=True)


def stage_settings() -> dict[str, type[BaseModel]]:
    """Parameter key -> its class, from the ``SETTINGS`` of every stage folder that has settings."""
    settings: dict[str, type[BaseModel]] = {}
    for stage in stages():
        module = f"birdbone.pipelines.{stage}.settings"
        if find_spec(module):
            settings |= import_module(module).SETTINGS
    return dict(sorted(settings.items()))


Parameters = create_model(
    "Parameters",
    __base__=Run,
    __doc__="The tree of ``conf/<env>/parameters*.yml``.",
    **{key: (settings, ...) for key, settings in stage_settings().items()},
)


def validate(tree: dict) -> Parameters:
    """The checked tree. Raises ConfigError with one line per fault, naming key and range."""
    try:
        checked = Parameters.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(map(_line, error.errors()))) from None
    if lines := _unregistered(checked) or _unfitting(checked):
        raise ConfigError("\n".join(lines))
    return checked


def _line(fault: dict) -> str:
    """One fault of pydantic's in a line."""
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(key, _keys(Parameters), n=1)
        hint = f"{near[0]}? " if near else ""
        return f"parameter {key}: no such parameter ({hint}see conf/base/parameters*.yml)"
    if fault["type"] == "missing":
        return f"parameter {key}: {fault['msg']}"
    unquoted = fault["type"] == "string_type" and isinstance(fault["input"], (bool, int, float))
    reason = fault["msg"].removeprefix("Value error, ")
    return f"parameter {key}: {reason}{': quote it' if unquoted else ''} (got {fault['input']!r})"


def _keys(group: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every parameter's key with its groups, ``text.window``."""
    for name, field in group.model_fields.items():
        yield before + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{before}{name}.")


def _unregistered(checked: Parameters) -> list[str]:
    """A line for each name that its registry lacks."""
    return [
        f"parameter {group}.{key}: should be one of {', '.join(registry)} (got {name!r})"
        for group in stage_settings()
        for key, name, registry in getattr(checked, group).names()
        if name not in registry
    ]


def _unfitting(checked: Parameters) -> list[str]:
    """A line where no type of ``quantize`` fits the widths that ``prune_wave`` leaves."""
    from birdbone.algo.grids import fitting

    multiple = checked.prune_wave.multiple
    if fitting(checked.quantize.types, multiple):
        return []
    line = f"parameter prune_wave.multiple: no type of quantize.types fits multiples of {multiple}"
    return [line]
