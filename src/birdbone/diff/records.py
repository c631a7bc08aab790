"""What the project's own small files say of a model: figures, waves, configuration, notebooks.

Read from the workspace or from any git revision alike, by a function that gives a file's text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from birdbone.errors import ArtifactError, SourceError
from birdbone.git import repository

REPORTS = "data/08_reporting"
PATTERNS = (f"{REPORTS}/wave_*/*", "notebooks/*.ipynb")
Read = Callable[[str], str | None]


@dataclass(frozen=True)
class Records:
    """Figures of one model. ``waves``: number -> the wave's report; ``curves``: number -> rows of its healing."""

    figures: dict = field(default_factory=dict)
    waves: dict[int, dict] = field(default_factory=dict)
    curves: dict[int, list[dict]] = field(default_factory=dict)
    notebooks: dict[str, str] = field(default_factory=dict)


def read_records(read: Read, names: list[str]) -> Records:
    """The records among these repository paths; what is missing is left out."""
    headline, final, seed = (_json(read, f"{REPORTS}/{n}.json") for n in ("metrics", "final_metrics", "seed_metrics"))
    waves: dict[int, dict] = {}
    curves: dict[int, list[dict]] = {}
    for name in names:
        path = PurePosixPath(name)
        if not (name.startswith(f"{REPORTS}/wave_") and path.parent.name.removeprefix("wave_").isdigit()):
            continue
        number = int(path.parent.name.removeprefix("wave_"))
        if path.name == "healing.csv":
            curves[number] = _rows(read(name) or "")
        elif path.name == "report.json":
            waves[number] = _json(read, name)
    notebooks = {n: text for n in names if n.startswith("notebooks/") and n.endswith(".ipynb") and (text := read(n))}
    figures = {"headline": headline, "final": final, "seed": seed, "quantize": _json(read, f"{REPORTS}/quantize.json")}
    return Records(figures, dict(sorted(waves.items())), dict(sorted(curves.items())), notebooks)


def workspace(root: Path) -> tuple[Read, list[str]]:
    """The working tree: a reader and the paths of reports and notebooks it has."""

    def read(name: str) -> str | None:
        path = root / name
        return path.read_text() if path.is_file() else None

    return read, sorted(p.relative_to(root).as_posix() for pattern in PATTERNS for p in root.glob(pattern))


def revision(root: Path, rev: str) -> tuple[Read, list[str]]:
    """A git revision: the same. Raises SourceError where git knows no such revision."""
    known = repository.commit(root, rev)
    if known is None:
        raise SourceError(f"git knows no revision {rev!r}: name a commit, tag or branch (git log --oneline)")

    def read(name: str) -> str | None:
        found = repository.read(root, known, name)
        return None if found is None else found.decode()

    return read, sorted(n for pattern in PATTERNS for n in repository.names(root, known, pattern))


def _json(read: Read, name: str) -> dict:
    try:
        found = json.loads(read(name) or "{}")
    except ValueError as error:
        raise ArtifactError(f"{name} is not valid JSON ({error}): run the stage that makes it") from error
    return {k: v for k, v in found.items() if k != "sha256"} if isinstance(found, dict) else {}


def _rows(text: str) -> list[dict]:
    """Rows of a CSV as numbers; a cell that is empty is left out."""
    lines = [line.split(",") for line in text.strip().splitlines()]
    return [{n: float(cell) for n, cell in zip(lines[0], line, strict=True) if cell} for line in lines[1:]]
