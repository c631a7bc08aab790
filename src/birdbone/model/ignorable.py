"""Tensors of a model's file that are no weights."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import yaml


def ignorable(name: str) -> bool:
    """Whether a tensor is no weight and may be left out; ``ignorable.yml`` says why."""
    return any(pattern.search(name) for pattern in _patterns())


@cache
def _patterns() -> list[re.Pattern[str]]:
    rows = yaml.safe_load((files("birdbone.model") / "ignorable.yml").read_text())
    return [re.compile(row["pattern"]) for row in rows]
