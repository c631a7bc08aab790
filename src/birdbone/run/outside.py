"""What lies outside the catalog and decides results all the same: models, texts, canaries,
benchmark files.

It counts by content. A file is hashed again where its size, times or inode are not those of the
last time. DVC follows it through ``<data>/sources.json``: key of the parameter -> name, bytes and
SHA-256 of what it names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from birdbone.datasets.atomic import canonical_json, file_digest, write_file
from birdbone.errors import SourceError, TextError

SOURCES = "sources.json"
NAMING = (
    "model",
    "text.source",
    "text.guard_domains",
    "text.elsewhere",
    "vocabulary.keep",
    "text.canaries",
    "evaluate.files",
    "evaluate.models",
    "domains.sets",
)
"""The parameters that name what lies outside."""

SETTLED = 2 * 10**9
"""Nanoseconds after which a file's times tell any later change of it: clocks of file systems are
coarse.
"""


@dataclass(frozen=True)
class Thing:
    """name: as the parameter has it. files: those that are read, by their name in it. path: where
    the parameter itself points; None for what a package brings. revision: of a hub's model, as far
    as it is known offline.
    """

    name: str
    files: tuple[tuple[str, Path], ...] = ()
    path: Path | None = None
    revision: str | None = None


def reads(parameters: list[str], key: str) -> bool:
    """Whether one of a node's parameters (``text``, ``text.source``) is, holds or lies in this
    key.
    """
    return any(
        f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.") for name in parameters
    )


def things(tree: dict) -> dict[str, Thing]:
    """Key of the parameter -> what it names, for all that lies outside the code and the catalog.

    What is not there has no files: the stage that needs it says so. Relative paths are the working
    directory's.
    """
    named: dict[str, Thing | None] = {}
    presets = tree.get("models") or {}
    if model := tree.get("model"):
        name, adapter = (
            (model.get("name"), model.get("adapter")) if isinstance(model, dict) else (model, None)
        )
        named["model"] = _model(name, presets)
        named["model.adapter"] = _files(adapter, _model_files)
    text = tree.get("text") or {}
    named["text.source"] = _text(text.get("source"))
    for group in ("guard_domains", "elsewhere"):
        named |= {f"text.{group}.{name}": _text(name) for name in text.get(group) or ()}
    keep = (tree.get("vocabulary") or {}).get("keep")
    if isinstance(keep, str) and Path(keep).is_file():
        named["vocabulary.keep"] = _files(keep, _text_files)
    named["text.canaries"] = _files(text.get("canaries"), _text_files)
    evaluate = tree.get("evaluate") or {}
    for task, about in (evaluate.get("files") or {}).items():
        named |= {
            f"evaluate.files.{task}.{part}": _files(about.get(part), _text_files)
            for part in ("test", "examples")
        }
    named |= {
        f"evaluate.models.{name}": _model(name, presets) for name in evaluate.get("models") or ()
    }
    sets = (tree.get("domains") or {}).get("sets") or {}
    named |= {f"domains.sets.{label}": _text(source) for label, source in sets.items()}
    return {key: thing for key, thing in named.items() if thing}


def digests(named: dict[str, Thing], cache: Path) -> dict[str, dict]:
    """Each thing's name, bytes and SHA-256 (that of its file, or over the names and digests of its
    files).

    cache: a file that remembers what was hashed. Raises SourceError naming a file that cannot be
    read.
    """
    remembered = _read(cache)
    hashes = {path: _hash(path, remembered) for thing in named.values() for _, path in thing.files}
    if seen := {key: row for _, key, row in hashes.values() if row}:
        if any(remembered.get(key) != row for key, row in seen.items()):
            write_file(cache, json.dumps({**remembered, **seen}, indent=1) + "\n")
    rows = {}
    for key, thing in named.items():
        parts = {name: hashes[path][0] for name, path in thing.files}
        folder = len(parts) != 1 or (thing.path is not None and thing.path.is_dir())
        digest = (
            sha256(canonical_json(parts).encode()).hexdigest()
            if folder
            else next(iter(parts.values()))
        )
        size = sum(path.stat().st_size for _, path in thing.files)
        rows[key] = {
            "name": thing.name,
            "bytes": size if parts else None,
            "sha256": digest if parts else None,
        }
        if thing.revision:
            rows[key]["revision"] = thing.revision
    return rows


def refresh(root: Path, tree: dict, data: str) -> bool:
    """Write ``<data>/sources.json`` of these parameters where it is not what it says; whether it
    was written.
    """
    if not any(within(tree, key) for key in NAMING):
        return False
    with chdir(root):
        rows = digests(things(tree), cache_of(root))
    file = root / data / SOURCES
    text = json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if file.is_file() and file.read_text() == text:
        return False
    write_file(file, text)
    return True


def within(tree: dict, key: str) -> bool:
    """Whether the parameters have this key."""
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def cache_of(root: Path) -> Path:
    """Where a project remembers the digests of what lies outside."""
    return root / ".birdbone" / "outside.json"


def inside(root: Path, thing: Thing) -> str | None:
    """Where a thing lies below the project, as its user points to it; None where it is not the
    project's own.
    """
    if thing.path is None or not thing.files:
        return None
    path = (root / thing.path).resolve()
    return path.relative_to(root.resolve()).as_posix() if root.resolve() in path.parents else None


def _model(name: str, presets: dict) -> Thing | None:
    from birdbone.sources.locate import locate

    try:
        source = locate(name, presets)
    except SourceError:
        return Thing(str(name))
    if source["kind"] == "random":
        return None
    if source["kind"] == "hub":
        return Thing(name, revision=_commit(source["id"], source.get("revision")))
    thing = _files(str(source["path"]), _model_files)
    return Thing(name, thing.files, None if name in presets else thing.path)


def _commit(name: str, revision: str | None) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(file).parent.name if isinstance(file, str) else None


def _text(source: str | None) -> Thing | None:
    from birdbone.text.sources import BUILT_IN, HUB, SEED_CHAT, built_in_files

    if not source or source == SEED_CHAT:
        return None
    if source in BUILT_IN:
        try:
            files = built_in_files(source)
        except TextError:
            return Thing(source)
        return Thing(source, tuple(files.items())) if files else None
    return Thing(source) if source.startswith(HUB) else _files(source, _text_files)


def _files(name: str | None, listed) -> Thing | None:
    if not name:
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        return Thing(name, tuple(sorted(listed(path))), path)
    return Thing(name, ((path.name, path),) if path.is_file() else (), path)


def _model_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """What loading a model may read: the folder's own files and its further chat templates; never a
    pickle.
    """
    from birdbone.sources.files import PICKLES

    for path in (*folder.iterdir(), *folder.glob("additional_chat_templates/*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix not in PICKLES:
            yield path.relative_to(folder).as_posix(), path


def _text_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every text that reading the folder gives."""
    from birdbone.text.files import text_files

    for path in text_files(folder):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _hash(path: Path, remembered: dict) -> tuple[str, str, list | None]:
    """(SHA-256, the cache's key, its row where that can be trusted later)."""
    key = str(path.absolute())
    try:
        about = path.stat()
        state = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
        row = remembered.get(key)
        if isinstance(row, list) and row[:-1] == state:
            return row[-1], key, row
        digest = file_digest(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    settled = time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > SETTLED
    return digest, key, [*state, digest] if settled else None


def _read(cache: Path) -> dict:
    try:
        rows = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return rows if isinstance(rows, dict) else {}
