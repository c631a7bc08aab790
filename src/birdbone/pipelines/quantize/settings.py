"""The types to round to, how, and how the search for the smallest file goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from birdbone.model.rounding.settings import RoundSettings
from birdbone.strict import Positive


class QuantizeSettings(RoundSettings):
    standard_errors: Annotated[float, Field(ge=0)]
    trials: Positive
    error: Annotated[float, Field(ge=0, lt=0.5)]


SETTINGS = {"quantize": QuantizeSettings}
