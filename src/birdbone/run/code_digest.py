"""Which source files a node's result depends on: the import closure of its function's file."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
import sys
from collections.abc import Callable
from importlib.util import resolve_name
from pathlib import Path

NAMED_PACKAGE = re.compile(r"\w+(\.\w+)+")
BOOKKEEPING = ("errors.py", "processes.py", "progress.py", "run")
"""Files and rooms that report and keep the books: a change in them changes no result."""


def code_files(function: Callable) -> list[Path]:
    """Files of the function's package that its module imports, directly or not, itself included.

    They are read, imports inside functions too, and nothing is executed. An ``__init__`` counts
    only when a name is taken from it.

    A module that names a package in a string (``files("birdbone.text")``) depends on that package's
    data: on the files and folders that it names in strings too (``"canaries.yml"``), or on all of
    them where it names none. One file can be named in one string (``"birdbone.report/page.html"``).
    """
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    package = function.__module__.partition(".")[0]
    source = Path(inspect.getsourcefile(function)).resolve()
    if package == "__main__" or "." not in function.__module__:
        return [source]
    root = Path(sys.modules[package].__path__[0]).resolve()
    return sorted(_closure(source, root, package))


def code_digest(function: Callable) -> str:
    """SHA-256 over the names and bytes of ``code_files`` (hex)."""
    files = code_files(function)
    sha = hashlib.sha256()
    for path in (p for f in files for p in (_tree(f) if f.is_dir() else [f])):
        sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def _closure(source: Path, root: Path, package: str) -> set[Path]:
    closure: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path in closure or path.relative_to(root).parts[0] in BOOKKEEPING:
            continue
        closure.add(path)
        if path.suffix == ".py":
            waiting += _dependencies(path, path.stat().st_mtime_ns, root, package)
    return closure


@functools.cache
def _dependencies(path: Path, _modified: int, root: Path, package: str) -> tuple[Path, ...]:
    """What one module imports, and the data it names."""
    module = ".".join((package, *path.relative_to(root).with_suffix("").parts))
    here = module.rpartition(".")[0]
    modules: list[Path | None] = []
    strings: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            modules += [_file(alias.name, root, package) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), here) if node.level else node.module
            for alias in node.names:
                modules.append(_file(f"{base}.{alias.name}", root, package) or _file(base, root, package))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.append(node.value)
    return (*(file for file in modules if file is not None), *_data(strings, root, package))


def _file(module: str, root: Path, package: str) -> Path | None:
    head, *rest = module.split(".")
    if head != package:
        return None
    place = root.joinpath(*rest)
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file() and root in file.parents:
            return file
    return None


def _data(strings: list[str], root: Path, package: str) -> list[Path]:
    """The data files and folders that a module with these strings reads."""
    data: list[Path] = []
    for string in strings:
        name, _, file = string.partition("/")
        if not NAMED_PACKAGE.fullmatch(name) or not name.startswith(f"{package}."):
            continue
        folder = root.joinpath(*name.split(".")[1:])
        if file:
            data += [path for path in [folder / file] if _is_data(path)]
        elif folder.is_dir():
            inside = [path for path in sorted(folder.iterdir()) if _is_data(path)]
            data += [path for path in inside if path.name in strings] or inside
    return data


def _is_data(path: Path) -> bool:
    """Whether a path is a file that is not Python, or a folder with no Python in it."""
    if path.name.startswith((".", "__")):
        return False
    return path.suffix != ".py" if path.is_file() else path.is_dir() and not any(path.rglob("*.py"))


def _tree(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
