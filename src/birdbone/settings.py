"""Kedro's project settings."""

import warnings

from birdbone.run.config import ConfigLoader
from birdbone.run.failure import show_plainly
from birdbone.run.hooks import ComputeHooks, RunHooks
from birdbone.run.session import Session
from birdbone.run.terminal import TerminalHooks

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
SESSION_CLASS = Session
HOOKS = (RunHooks(), ComputeHooks(), TerminalHooks())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

# `wave_1.model` goes into `wave_2`: the dot is the wave's own namespace, which is what Kedro asks
# for.
warnings.filterwarnings("ignore", message="One or more dataset names contain '.' characters")
show_plainly()
