"""What a wave removes, and how: as pruning itself takes it."""

from birdbone.model.pruning.settings import MaskSettings, PruneSettings

__all__ = ["MaskSettings", "PruneSettings"]
