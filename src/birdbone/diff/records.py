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
Reader = Callable[[str], str | None]


@dataclass(frozen=True)
class Records:
    """Figures of one model. Of each wave's number: ``waves`` its report, ``curves`` its healing."""

    figures: dict = field(default_factory=dict)
    waves: dict[int, dict] = field(default_factory=dict)
    curves: dict[int, list[dict]] = field(default_factory=dict)
    notebooks: dict[str, str] = field(default_factory=dict)


def read_records(read_file: Reader, names: list[str]) -> Records:
    """The records among these repository paths; what is missing is left out."""
    headline, final, seed = (
        _json(read_file, f"{REPORTS}/{n}.json")
        for n in ("metrics", "final_metrics", "seed_metrics")
    )
    waves: dict[int, dict] = {}
    curves: dict[int, list[dict]] = {}
    for name in names:
        path = PurePosixPath(name)
        number = path.parent.name.removeprefix("wave_")
        if not name.startswith(f"{REPORTS}/wave_") or not number.isdigit():
            continue
        if path.name == "healing.csv":
            curves[int(number)] = _rows(read_file(name) or "")
        elif path.name == "report.json":
            waves[int(number)] = _json(read_file, name)
    notebooks = {
        n: text
        for n in names
        if n.startswith("notebooks/") and n.endswith(".ipynb") and (text := read_file(n))
    }
    figures = {
        "headline": headline,
        "final": final,
        "seed": seed,
        "quantize": _json(read_file, f"{REPORTS}/quantize.json"),
    }
    return Records(figures, dict(sorted(waves.items())), dict(sorted(curves.items())), notebooks)


def workspace(root: Path) -> tuple[Reader, list[str]]:
    """The working tree: a reader and the paths of reports and notebooks it has."""

    def read_file(name: str) -> str | None:
        path = root / name
        return path.read_text() if path.is_file() else None

    return read_file, sorted(
        p.relative_to(root).as_posix() for pattern in PATTERNS for p in root.glob(pattern)
    )


def revision(root: Path, rev: str) -> tuple[Reader, list[str]]:
    """A git revision: the same. Raises SourceError where git knows no such revision."""
    commit = repository.commit(root, rev)
    if commit is None:
        raise SourceError(
            f"git knows no revision {rev!r}: name a commit, tag or branch (git log --oneline)"
        )

    def read_file(name: str) -> str | None:
        content = repository.read(root, commit, name)
        return None if content is None else content.decode()

    return read_file, sorted(
        n for pattern in PATTERNS for n in repository.names(root, commit, pattern)
    )


def _json(read_file: Reader, name: str) -> dict:
    try:
        record = json.loads(read_file(name) or "{}")
    except ValueError as error:
        raise ArtifactError(
            f"{name} is not valid JSON ({error}): run the stage that makes it"
        ) from error
    return {k: v for k, v in record.items() if k != "sha256"} if isinstance(record, dict) else {}


def _rows(text: str) -> list[dict]:
    """Rows of a CSV as numbers; a cell that is empty is left out."""
    lines = [line.split(",") for line in text.strip().splitlines()]
    return [
        {n: float(cell) for n, cell in zip(lines[0], line, strict=True) if cell}
        for line in lines[1:]
    ]
