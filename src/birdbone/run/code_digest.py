"""Which source files a node's result depends on: the import closure of its function's file."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from importlib.util import resolve_name
from pathlib import Path

BOOKKEEPING = ("errors.py", "progress.py", "run")
"""Files and rooms that report and keep the books: a change in them changes no result."""


def code_files(function: Callable) -> list[Path]:
    """Files of the function's package that its module imports, directly or not, itself included.

    Found by reading the sources, imports inside functions too; nothing is executed. An ``__init__``
    counts only when a name is taken from it. A data folder or file beside a module counts when
    the module names it in a string (``files(...) / "architectures"``).
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
    found: set[Path] = set()
    todo = [source]
    while todo:
        path = todo.pop()
        if path in found or path.relative_to(root).parts[0] in BOOKKEEPING:
            continue
        found.add(path)
        if path.suffix == ".py":
            todo += _imports(path, path.stat().st_mtime_ns, root, package)
    return found


@functools.cache
def _imports(path: Path, _modified: int, root: Path, package: str) -> tuple[Path, ...]:
    module = ".".join((package, *path.relative_to(root).with_suffix("").parts))
    here = module.rpartition(".")[0]
    files: list[Path | None] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            files += [_file(alias.name, root, package) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), here) if node.level else node.module
            for alias in node.names:
                files.append(_file(f"{base}.{alias.name}", root, package) or _file(base, root, package))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            files.append(_data(path.parent, node.value))
    return tuple(f for f in files if f is not None)


def _file(module: str, root: Path, package: str) -> Path | None:
    head, *rest = module.split(".")
    if head != package:
        return None
    place = root.joinpath(*rest)
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file() and root in file.parents:
            return file
    return None


def _data(folder: Path, name: str) -> Path | None:
    """A data folder, or a file that is not Python, called ``name`` in ``folder``."""
    if not name or name.startswith((".", "/", "_")) or len(name) > 100 or "\n" in name or "\0" in name:
        return None
    place = folder / name
    if place.is_file():
        return place if place.suffix != ".py" else None
    return place if place.is_dir() and not any(place.glob("*.py")) else None


def _tree(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
