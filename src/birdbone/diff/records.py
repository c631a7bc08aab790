"""What the project's own small files say of a model: figures, waves, configuration, notebooks.

Read from the workspace or from any git revision alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from birdbone.errors import ArtifactError, SourceError
from birdbone.git import repository
from birdbone.run.catalog import CatalogFiles

NOTEBOOKS = "notebooks/*.ipynb"


@dataclass(frozen=True)
class Tree:
    """The project's files in one state. read: the text of a path, None where there is none. names:
    of the paths that match a pattern.
    """

    read: Callable[[str], str | None]
    names: Callable[[str], list[str]]


@dataclass(frozen=True)
class Records:
    """Figures of one model. Of each wave's number: ``waves`` its report, ``curves`` its healing."""

    figures: dict = field(default_factory=dict)
    waves: dict[int, dict] = field(default_factory=dict)
    curves: dict[int, list[dict]] = field(default_factory=dict)
    notebooks: dict[str, str] = field(default_factory=dict)


def read_records(tree: Tree, files: CatalogFiles) -> Records:
    """What a state of the project tells of its model, by the catalog's names; what is missing is
    left out.
    """
    single = {
        "headline": "headline",
        "final": "final_metrics",
        "seed": "seed_metrics",
        "quantize": "quantize_report",
        "vocabulary": "vocabulary",
    }
    figures = {name: _json(tree, files.path(entry)) for name, entry in single.items()}
    waves = {
        number: _json(tree, name) for number, name in _by_wave(tree, files.path("wave_*.report"))
    }
    curves = {
        number: _rows(tree.read(name) or "")
        for number, name in _by_wave(tree, files.path("wave_*.healing_curve"))
    }
    notebooks = {name: text for name in tree.names(NOTEBOOKS) if (text := tree.read(name))}
    return Records(figures, waves, curves, notebooks)


def workspace(root: Path) -> Tree:
    """The working tree."""

    def read_file(name: str) -> str | None:
        path = root / name
        return path.read_text() if path.is_file() else None

    def names(pattern: str) -> list[str]:
        return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))

    return Tree(read_file, names)


def revision(root: Path, rev: str) -> Tree:
    """A git revision. Raises SourceError where git knows no such revision."""
    sha = repository.commit(root, rev)
    if sha is None:
        raise SourceError(
            f"git knows no revision {rev!r}: name a commit, tag or branch (git log --oneline)"
        )

    def read(name: str) -> str | None:
        content = repository.read(root, sha, name)
        return None if content is None else content.decode()

    return Tree(read, lambda pattern: sorted(repository.names(root, sha, pattern)))


def _by_wave(tree: Tree, pattern: str) -> list[tuple[int, str]]:
    """(wave, path) of the files that match a pattern with one star, which stands for the number."""
    before, after = pattern.split("*")
    numbers = {name.removeprefix(before).removesuffix(after): name for name in tree.names(pattern)}
    return sorted((int(number), name) for number, name in numbers.items() if number.isdigit())


def _json(tree: Tree, name: str) -> dict:
    try:
        content = json.loads(tree.read(name) or "{}")
    except ValueError as error:
        raise ArtifactError(
            f"{name} is not valid JSON ({error}): run the stage that makes it"
        ) from error
    return {k: v for k, v in content.items() if k != "sha256"} if isinstance(content, dict) else {}


def _rows(text: str) -> list[dict]:
    """Rows of a CSV as numbers; a cell that is empty is left out."""
    lines = [line.split(",") for line in text.strip().splitlines()]
    return [
        {n: float(cell) for n, cell in zip(lines[0], line, strict=True) if cell}
        for line in lines[1:]
    ]
