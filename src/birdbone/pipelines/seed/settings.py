"""What text is read, in which windows, and which tokens stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

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


AUTO, ALL, TEXT = "auto", "all", "text"


class VocabularySettings(Strict):
    keep: Positive | str
    at_least: Positive

    @field_validator("keep")
    @classmethod
    def _known(cls, keep: int | str) -> int | str:
        if isinstance(keep, str) and keep not in (AUTO, ALL, TEXT) and not Path(keep).is_file():
            raise ValueError("give all, text, a number of tokens, or a file with a token a line")
        return keep

    @property
    def trims(self) -> bool:
        """Whether any token may go."""
        return self.keep not in (AUTO, ALL)


SETTINGS = {"text": TextSettings, "vocabulary": VocabularySettings}
