"""Kedro's project settings."""

import warnings

from birdbone.config import ConfigLoader
from birdbone.failure import show_plainly
from birdbone.hooks import ComputeHooks, RunHooks
from birdbone.report.terminal import TerminalHooks
from birdbone.session import Session

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
SESSION_CLASS = Session
HOOKS = (RunHooks(), ComputeHooks(), TerminalHooks())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

# `wave_1.model` goes into `wave_2`: the dot is the wave's own namespace, which is what Kedro asks for.
warnings.filterwarnings("ignore", message="One or more dataset names contain '.' characters")
show_plainly()
