"""The model under review, as DVC's lock file has it."""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml

LOCK = "dvc.lock"
ACCEPTED = re.compile(r".*/wave_(\d+)/accepted")


class Tracked(NamedTuple):
    """A model as DVC holds it: its path, its hash, and the stage that makes it."""

    path: str
    md5: str
    stage: str


def tracked_model(lock: str | None) -> Tracked | None:
    """The last wave's accepted model in a ``dvc.lock``'s text; None where it holds none."""
    if not lock:
        return None
    stages = (yaml.safe_load(lock) or {}).get("stages") or {}
    models = {
        int(path[1]): Tracked(out["path"], out["md5"], name)
        for name, stage in stages.items()
        for out in stage.get("outs", [])
        if (path := ACCEPTED.fullmatch(out["path"]))
    }
    return models[max(models)] if models else None
