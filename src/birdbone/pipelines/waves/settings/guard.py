"""What the guard allows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from birdbone.strict import Positive, Strict


class GuardSettings(Strict):
    wave_share: Annotated[float, Field(gt=0, le=1)]
    control: bool
    trace_tokens: Positive
    tasks: dict[str, Annotated[float, Field(ge=0, lt=1)]]
