"""What text is read: sources, windows, tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from birdbone.strict import Positive, Strict


class TextSettings(Strict):
    source: str
    chat: bool
    written_share: Annotated[float, Field(ge=0, le=1)]
    window: Annotated[int, Field(ge=8)]
    calibration_tokens: Positive
    heal_tokens: Positive
    guard_domains: Annotated[list[str], Field(min_length=1)]
    excerpts: bool
    elsewhere: list[str]
    guard_tokens: Positive
    test_tokens: Positive
    canaries: str | None
