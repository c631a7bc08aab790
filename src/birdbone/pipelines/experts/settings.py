"""How experts are found, described and tested."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from birdbone.strict import Positive, Strict


class ExpertSettings(Strict):
    clusters: Literal["layer", "model"]
    measure: Literal["activity", "sensitivity", "fisher"]
    homology_landmarks: Annotated[int, Field(ge=8, le=1024)]
    permutations: Annotated[int, Field(ge=9)]
    shown_tokens: Positive
    ablated: Positive
    random_sets: Annotated[int, Field(ge=2)]
    ablation_tokens: Positive


SETTINGS = {"experts": ExpertSettings}
