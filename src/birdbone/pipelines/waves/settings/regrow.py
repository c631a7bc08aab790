"""What a wave may bring back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from birdbone.strict import Positive, Strict


class RegrowSettings(Strict):
    share: Annotated[float, Field(ge=0, le=0.05)]
    epsilon: Annotated[float, Field(ge=0)]
    tokens: Positive
    heal_steps: Annotated[int, Field(ge=0)]
