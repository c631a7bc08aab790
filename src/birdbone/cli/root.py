"""The project that a command works in."""

from __future__ import annotations

from pathlib import Path


def project_root() -> Path:
    """The project's folder.

    Kedro takes a second to import, and git's hooks call these commands: it is imported when it is asked for.
    """
    from birdbone.run import config

    return config.project_root()
