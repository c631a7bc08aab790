"""Which tokens stay."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from birdbone.strict import Positive, Strict

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
