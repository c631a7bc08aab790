"""How a model is cut into experts, their routers healed, and the mixture compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from birdbone.model.healing.recipe import Recipe
from birdbone.strict import Positive, Strict


class RouterHealSettings(Strict):
    steps: Annotated[int, Field(ge=0)]
    batch: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    compute: Literal["auto", "float32", "bfloat16"]
    checkpoint_every: Positive

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            self.steps, self.batch, self.learning_rate, self.checkpoint_every, self.compute
        )


class SplitSettings(Strict):
    experts: Annotated[int, Field(ge=2)]
    shared_share: Annotated[float, Field(gt=0, lt=1)]
    active: Positive
    grouping: Literal["topology", "kmeans", "random"]
    tokens: Positive
    damping: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _enough_experts(self) -> SplitSettings:
        if self.active > self.experts:
            raise ValueError(f"active is {self.active}, more than the {self.experts} experts")
        return self


class CompareSettings(Strict):
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    guard_tokens: Positive
    referee_tokens: Annotated[int, Field(ge=16)]
    speed_tokens: Positive


class MoeSettings(Strict):
    source: Literal["seed", "accepted"]
    type: str
    split: SplitSettings
    heal: RouterHealSettings
    compare: CompareSettings

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        from birdbone.algo.grids import GRIDS

        yield "type", self.type, ("F32", "F16", *GRIDS)


SETTINGS = {"moe": MoeSettings}
