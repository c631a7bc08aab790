"""Onto which types weights are rounded, and how."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field

from birdbone.strict import Strict


class RoundSettings(Strict):
    """types: of the blocks' matrices. embedding: of embedding and head, ``auto`` for the same.
    method: ``nearest`` is llama.cpp's own rounding, of the weights as they are. orders: of the
    columns in GPTQ; the better one counts.
    """

    types: Annotated[list[str], Field(min_length=1)]
    embedding: str
    method: Literal["gptq", "nearest"]
    orders: Annotated[list[Literal["natural", "power"]], Field(min_length=1)]
    equalize: bool
    damping: Annotated[float, Field(gt=0)]

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        from birdbone.algo.grids import GRIDS

        yield from (("types", name, GRIDS) for name in self.types)
        yield "embedding", self.embedding, ("auto", *GRIDS)
