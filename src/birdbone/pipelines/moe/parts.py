"""The model and what the earlier nodes made of it, which together are the mixture."""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.mixture.model import Mixture
from birdbone.mixture.split import Routers, Split, mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.pipelines.gathered import Together


@dataclass(frozen=True)
class Parts(Together):
    """A dense model, its cut into experts, and the healed routers."""

    source: Checkpoint
    split: Split
    healed: Routers

    @property
    def mixture(self) -> Mixture:
        """The mixture with its healed routers."""
        return mixture_from(self.source, self.split, self.healed)
