"""How a run is made again: its profile, and the parameters it had otherwise than the profile's files say."""

from __future__ import annotations

import platform
import shlex
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

from kedro.io import AbstractDataset, DatasetError

from birdbone.config import ProfileLoader, in_force
from birdbone.git.changes import changes

TOOLS = ("birdbone", "torch", "transformers", "llama_cpp_python")


class Command(AbstractDataset):
    """The command that repeats the run under way, of the configuration in force. Equal runs have equal ones, however
    their command lines were spelled."""

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
    """``kedro run --env=… --params=…``: what the command line and ``conf/local`` changed is in ``--params``.

    A value that no command line holds stands in a comment above, as the profile's file would have it.
    """
    env = loader.env if loader.env and loader.env != loader.default_run_env else loader.base_env
    profile = ProfileLoader(loader.conf_source, env, base_env=loader.base_env, default_run_env=loader.base_env)
    given, written = [], []
    for change in changes(profile.tree(), loader.tree()):
        value = _spelled(change.new)
        given += [] if value is None else [f"{change.key}={value}"]
        written += [f"# with this in conf/{env}/parameters.yml: {change.key}: {change.new!r}"] if value is None else []
    line = f"kedro run --env={shlex.quote(env)}" + (f" --params={shlex.quote(','.join(given))}" if given else "")
    return "\n".join([*written, line])


def again(line: str, seed_digest: str) -> str:
    """What a card says under "reproduce": the versions, the seed, the command."""
    found = {name: _version(name) for name in TOOLS}
    tools = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    return f"# {tools}, Python {platform.python_version()}\n# seed {seed_digest}\n{line}"


def _spelled(value: object) -> str | None:
    """A value as ``--params`` takes it; None where it does not."""
    if isinstance(value, list):
        items = [_spelled(item) for item in value]
        plain = not any(item is None or isinstance(raw, list) for item, raw in zip(items, value, strict=True))
        return f"[{','.join(items)}]" if plain and not any(set("[]") & set(item) for item in items) else None
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    plain = isinstance(value, int | float | str) and text == text.strip() and not {",", "\n"} & set(text)
    return text if plain and text and text[0] not in "[{" else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
