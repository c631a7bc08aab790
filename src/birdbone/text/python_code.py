"""Python source text that is on every machine: the standard library, and installed packages.

Two built-in texts that share no package and no author: what a model for Python calibrates and heals
on, and what it is judged by.
"""

from __future__ import annotations

import logging
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from birdbone.errors import TextError

CALIBRATION = (
    "numpy",
    "pandas",
    "sklearn",
    "matplotlib",
    "networkx",
    "aiohttp",
    "pydantic",
    "celery",
    "IPython",
)
"""Packages of the text ``python``, beside the standard library."""
JUDGING = (
    "_pytest",
    "asyncssh",
    "attr",
    "bs4",
    "click",
    "dulwich",
    "dvc",
    "fsspec",
    "git",
    "hypothesis",
    "jedi",
    "jinja2",
    "joblib",
    "kedro",
    "packaging",
    "prompt_toolkit",
    "pygments",
    "requests",
    "rich",
    "sqlite_utils",
    "tornado",
    "tqdm",
    "urllib3",
    "werkzeug",
)
"""Packages of the text ``packages``."""
LEFT_OUT = {
    "__pycache__",
    "_vendor",
    "encodings",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
    "vendor",
}
"""Folders of tests, tables and other people's code."""
LENGTHS = range(400, 200_000)
"""Bytes of a file that is read."""
FEWEST = 5
"""Packages below which a text says little."""

log = logging.getLogger("birdbone")


def library_files() -> Iterator[tuple[str, str, Path]]:
    """(group, title, file) of the standard library and of ``CALIBRATION``; every file alone."""
    library = Path(sysconfig.get_path("stdlib"))
    for file in _files(library):
        yield "", file.relative_to(library).as_posix(), file
    for _, title, file in _package_files("python", CALIBRATION):
        yield "", title, file


def package_files() -> Iterator[tuple[str, str, Path]]:
    """(group, title, file) of ``JUDGING``; the files of a package are a group."""
    yield from _package_files("packages", JUDGING)


def _package_files(text: str, packages: tuple[str, ...]) -> Iterator[tuple[str, str, Path]]:
    """Raises TextError where too few of the packages are installed."""
    found = {name: spec.origin for name in packages if (spec := find_spec(name)) and spec.origin}
    if missing := [name for name in packages if name not in found]:
        log.warning("text %s goes without %s: not installed", text, ", ".join(missing))
    if len(found) < FEWEST:
        raise TextError(
            f"text source {text!r} is made of installed packages, and of {len(packages)} only "
            f"{len(found)} are there. Install the project's requirements (make setup)"
        )
    for name, origin in found.items():
        folder = Path(origin).parent
        for file in _files(folder):
            yield name, f"{name}/{file.relative_to(folder).as_posix()}", file


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*.py")):
        if LEFT_OUT.isdisjoint(file.relative_to(folder).parts[:-1]):
            if file.stat().st_size in LENGTHS:
                yield file
