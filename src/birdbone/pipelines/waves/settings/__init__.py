"""The settings of the waves, a file for each step: an edit of one reruns that step alone."""

from birdbone.pipelines.waves.settings.guard import GuardSettings
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.pipelines.waves.settings.prune import PruneSettings
from birdbone.pipelines.waves.settings.regrow import RegrowSettings

SETTINGS = {
    "prune_wave": PruneSettings,
    "micro_heal": HealSettings,
    "regrow": RegrowSettings,
    "guard": GuardSettings,
}
