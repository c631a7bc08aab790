"""What a wave removes, and how."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from birdbone.strict import Positive, Share, Strict


class MaskSettings(Strict):
    method: Literal["none", "magnitude", "wanda", "sparsegpt", "admm"]
    sparsity: Share
    budget: Literal["uniform", "sensitivity"]
    pattern: tuple[Positive, Positive] | None

    @model_validator(mode="after")
    def _pattern_fits(self) -> MaskSettings:
        if self.pattern and self.pattern[0] >= self.pattern[1]:
            raise ValueError("pattern [N, M] keeps N of M neighbours: N must be below M")
        return self


class PruneSettings(Strict):
    score: str
    step: Annotated[float, Field(gt=0, lt=1)]
    clusters: Literal["layer", "model"]
    cluster_cap: Annotated[float, Field(gt=0, lt=1)]
    attention: bool
    multiple: Positive
    damping: Annotated[float, Field(gt=0)]
    weights: MaskSettings

    @model_validator(mode="after")
    def _grid(self) -> PruneSettings:
        if self.multiple % 32:
            raise ValueError(
                "multiple must be a multiple of 32: GGUF rows are stored in blocks of 32, 256 for "
                "*_K, *_XS"
            )
        return self

    def names(self) -> Iterator[tuple[str, str, Collection[str]]]:
        from birdbone.algo.scores import SCORES

        yield "score", self.score, SCORES
