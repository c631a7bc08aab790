"""The types to round to, how, and how the search goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field

from birdbone.strict import Positive, Strict


class QuantizeSettings(Strict):
    types: Annotated[list[str], Field(min_length=1)]
    embedding: str
    method: Literal["gptq", "nearest"]
    orders: Annotated[list[Literal["natural", "power"]], Field(min_length=1)]
    equalize: bool
    damping: Annotated[float, Field(gt=0)]
    standard_errors: Annotated[float, Field(ge=0)]
    trials: Positive

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        from birdbone.algo.grids import GRIDS

        yield from (("types", name, GRIDS) for name in self.types)
        yield "embedding", self.embedding, ("auto", *GRIDS)


SETTINGS = {"quantize": QuantizeSettings}
