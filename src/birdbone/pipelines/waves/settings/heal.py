"""How a wave heals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from birdbone.model.healing.recipe import Lora, Recipe
from birdbone.strict import Positive, Strict


class HealSettings(Strict):
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

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            self.steps,
            self.batch,
            self.learning_rate,
            self.checkpoint_every,
            self.compute,
            self.ce_weight,
            self.state_weight,
        )

    @property
    def lora(self) -> Lora | None:
        """None where all weights learn."""
        if self.method == "full":
            return None
        return Lora(self.rank, self.base, self.merge_onto)
