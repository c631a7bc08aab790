"""How a run is made again: its profile, and the parameters it had otherwise than the profile's
files say.
"""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from hashlib import sha256

from kedro.io import AbstractDataset, DatasetError

from birdbone.errors import ConfigError
from birdbone.run.changes import ABSENT, changes
from birdbone.run.config import ProfileLoader, in_force
from birdbone.run.overrides import parse


class Command(AbstractDataset):
    """The command that repeats the run under way, of the configuration in force. Equal runs have
    equal ones, however their command lines were spelled.
    """

    def __init__(self, metadata: dict | None = None) -> None:
        self.metadata = metadata

    def load(self) -> str:
        return command(in_force())

    def save(self, _: object) -> None:
        raise DatasetError("the command of a run is read, not saved")

    def digest(self) -> str:
        """SHA-256 of the command."""
        return sha256(self.load().encode()).hexdigest()

    def _describe(self) -> dict:
        return {}


def command(loader: ProfileLoader) -> str:
    """``kedro run --env=… --params=…``: what the command line and ``conf/local`` changed is in
    ``--params``.
    """
    env = loader.env if loader.env and loader.env != loader.default_run_env else loader.base_env
    ends = {"base_env": loader.base_env}
    profile = ProfileLoader(loader.conf_source, env, default_run_env=loader.base_env, **ends)
    given = ProfileLoader(
        loader.conf_source,
        loader.env,
        loader.runtime_params,
        default_run_env=loader.default_run_env,
        **ends,
    )
    different = [
        change
        for change in changes(profile.written(), given.written())
        if change.new is not ABSENT and change.new != change.old
    ]
    params = ",".join(f"{change.key}={_spelled(change.new)}" for change in different)
    return f"kedro run --env={shlex.quote(env)}" + (
        f" --params={shlex.quote(params)}" if params else ""
    )


def _spelled(value: object) -> str:
    """A value as ``--params`` takes it: plain where it comes back as it is, as JSON otherwise."""
    with suppress(ConfigError):
        if isinstance(value, str) and parse(f"x={value}") == {"x": value}:
            return value
    return json.dumps(value, ensure_ascii=False)
