"""The exported files and how much llama.cpp reads of the text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from birdbone.strict import Positive, Strict


class ExportSettings(Strict):
    dtype: Literal["float32", "float16", "bfloat16"]
    referee_tokens: Annotated[int, Field(ge=16)]
    perplexity_tokens: Positive
    speed_tokens: Positive


SETTINGS = {"export": ExportSettings}
