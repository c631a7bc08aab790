"""The labelled text sets and how much of each is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from birdbone.strict import Positive, Strict


class DomainSettings(Strict):
    sets: Annotated[dict[str, str], Field(min_length=2)]
    window: Annotated[int, Field(ge=8)]
    scan_tokens: Positive
    heldout_tokens: Positive
    profile_tokens: Positive


SETTINGS = {"domains": DomainSettings}
