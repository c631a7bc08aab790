"""Python source text that is on every machine: the standard library, and installed packages.

The built-in text ``python`` has three parts that share no package: what a model for Python
calibrates and heals on, what accepts it, and what is read once, for the report. Packages by the
authors of those that judge are not among those that healing reads (pluggy, parso, llm …).
"""

from __future__ import annotations

import logging
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from birdbone.errors import TextError

CALIBRATION = """
IPython PIL absl accelerate aiohttp amqp antlr4 anyio arrow billiard bitsandbytes bleach
celery cffi chardet charset_normalizer configobj contourpy cookiecutter coverage
cryptography dateutil debugpy dill diskcache distlib dynaconf fastapi filelock fontTools
gensim gguf gudhi huggingface_hub hydra ipykernel jsonschema jupyter_client jupyter_server
kombu lark lm_eval lxml markdown_it matplotlib mistune more_itertools mpmath multiprocess
narwhals nbconvert nbdime nbformat networkx nltk numpy omegaconf openai pandas peft pexpect
pip platformdirs plotly portalocker pre_commit prometheus_client psutil pycparser pydantic
pygit2 pyparsing sacrebleu scipy setuptools sklearn smart_open starlette sympy tomlkit torch
traitlets transformers typer uvicorn virtualenv voluptuous websockets wrapt yaml zmq
""".split()
"""Packages that calibration and healing read, beside the standard library."""
GUARD = (
    "_pytest",
    "asyncssh",
    "click",
    "dulwich",
    "dvc",
    "fsspec",
    "jinja2",
    "prompt_toolkit",
    "requests",
    "rich",
    "tornado",
)
TEST = (
    "attr",
    "bs4",
    "git",
    "hypothesis",
    "jedi",
    "joblib",
    "kedro",
    "pygments",
    "sqlite_utils",
    "tqdm",
    "urllib3",
    "werkzeug",
)
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
MANY = 150
"""Files of a package that are read at most, so that many authors count."""
FEWEST = 5
"""Packages below which a text says little."""

log = logging.getLogger("birdbone")


def python_files() -> Iterator[tuple[str, str, Path]]:
    """(part, title, file) of every file: heal, guard or test. Raises TextError where too few of the
    packages are installed.
    """
    library = Path(sysconfig.get_path("stdlib"))
    for file in _files(library):
        yield "heal", file.relative_to(library).as_posix(), file
    for part, packages in (("heal", CALIBRATION), ("guard", GUARD), ("test", TEST)):
        for name, folder in _installed(part, packages).items():
            for file in _some(_files(folder), folder):
                yield part, f"{name}/{file.relative_to(folder).as_posix()}", file


def without_header(source: str) -> str:
    """A file's text less the comments that it begins with.

    Those are licences, which are no code and stand word for word in files of every part.
    """
    lines = source.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.strip() and line[0] != "#"), 0)
    return "".join(lines[first:])


def _installed(part: str, packages: Sequence[str]) -> dict[str, Path]:
    specs = {name: find_spec(name) for name in packages}
    found = {name: Path(s.origin).parent for name, s in specs.items() if s and s.origin}
    if len(found) < FEWEST:
        raise TextError(
            f"text source 'python' is made of installed packages, and of {len(packages)} for its "
            f"part {part} only {len(found)} are there. Install the project's requirements "
            "(make setup)"
        )
    if missing := [name for name in packages if name not in found]:
        log.warning("text python goes without %s: not installed", ", ".join(missing))
    return found


def _some(files: Iterable[Path], folder: Path) -> list[Path]:
    """``MANY`` of a package's files at most, drawn by their names below its folder."""

    def drawn(file: Path) -> bytes:
        return sha256(f"{folder.name}/{file.relative_to(folder).as_posix()}".encode()).digest()

    return sorted(sorted(files, key=drawn)[:MANY])


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*.py")):
        if LEFT_OUT.isdisjoint(file.relative_to(folder).parts[:-1]):
            if file.stat().st_size in LENGTHS:
                yield file
