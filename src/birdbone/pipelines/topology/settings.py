"""How nodes are clustered and the Mapper graph is made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from birdbone.strict import Positive, Strict


class TopologySettings(Strict):
    neighbours: Annotated[int, Field(ge=2)]
    landmarks: Annotated[int, Field(ge=16)]
    min_cluster: Positive
    resolution: Annotated[int, Field(ge=2)]
    gain: Annotated[float, Field(gt=0, lt=0.5)]
    stability_resamples: Annotated[int, Field(ge=0)]

    @property
    def clustering(self) -> dict[str, int]:
        """What ``cluster_layer``, ``cluster_model`` and ``stability`` take."""
        return {
            "neighbours": self.neighbours,
            "landmarks": self.landmarks,
            "min_cluster": self.min_cluster,
        }


SETTINGS = {"topology": TopologySettings}
