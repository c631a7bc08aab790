"""Files and folders that are there whole and verified, or not there at all.

A folder is built beside its place under a temporary name, every file fsynced, the manifest written
last, and then moved in. Readers trust only what the manifest's SHA-256 confirms.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from birdbone.errors import ArtifactError

MANIFEST = "manifest.json"


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: one text per value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_digest(value: dict) -> str:
    """SHA-256 (hex) of a JSON object as it will be read back, its own ``sha256`` key left out."""
    body = json.loads(json.dumps({k: v for k, v in value.items() if k != "sha256"}))
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def signed(manifest: dict) -> str:
    """A manifest's text: its entries and, under ``sha256``, the digest that covers them all."""
    return json.dumps({**manifest, "sha256": json_digest(manifest)}, indent=1, sort_keys=True) + "\n"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file at once: temporary name in the same folder, fsync, rename, fsync the folder.

    Raises ArtifactError when the disk is full or may not be written to; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with whole_or_nothing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_folder(folder: Path, fill: Callable[[Path], dict | None]) -> dict:
    """Replace a folder at once. ``fill`` writes files into a fresh one and may return extra
    manifest entries. Returns the manifest: ``files`` maps names to size and SHA-256.

    Raises ArtifactError when the disk is full or may not be written to; the old folder is then untouched.
    """
    temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    retired = folder.with_name(f".{folder.name}.tmp-old-{os.getpid()}")
    with whole_or_nothing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            extra = fill(temporary) or {}
            names = sorted(
                p.relative_to(temporary).as_posix()
                for p in temporary.rglob("*")
                if p.is_file() and p != temporary / MANIFEST
            )
            for name in names:
                (temporary / name).chmod(0o644)
                sync(temporary / name)
            hashed = extra.pop("files", {})
            files = {
                n: hashed.get(n) or {"bytes": (temporary / n).stat().st_size, "sha256": file_digest(temporary / n)}
                for n in names
            }
            manifest = {**extra, "files": files}
            (temporary / MANIFEST).write_text(signed(manifest))
            sync(temporary / MANIFEST)
            if folder.exists():
                os.rename(folder, retired)
            os.rename(temporary, folder)
            sync(folder.parent)
        finally:
            if retired.exists() and not folder.exists():
                os.rename(retired, folder)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(retired, ignore_errors=True)
    return manifest


def read_manifest(folder: Path) -> dict:
    """The manifest of a folder whose files have the sizes it names. Raises ArtifactError."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        good = manifest["sha256"] == json_digest(manifest)
        sizes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{folder} is missing or incomplete (no {MANIFEST}): run the stage that makes it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is corrupted: delete {folder} and run again") from error
    if not good:
        raise ArtifactError(f"{path} was changed since it was written: delete {folder} and run again")
    for name, size in sizes.items():
        file = (folder / name).resolve()
        if folder.resolve() not in file.parents:
            raise ArtifactError(f"{path} names a file outside its folder: {name!r}")
        if not file.is_file() or file.stat().st_size != size:
            raise ArtifactError(f"{folder / name} is missing or truncated: delete {folder} and run again")
    return manifest


def verify_folder(folder: Path) -> dict:
    """``read_manifest`` plus every file's SHA-256. Raises ArtifactError naming the file."""
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        if file_digest(folder / name) != entry["sha256"]:
            raise ArtifactError(
                f"{folder / name} does not match its manifest (changed or damaged): "
                f"delete {folder} and run again, or restore it with dvc checkout"
            )
    return manifest


def link_tree(source: Path, target: Path) -> None:
    """Hard-link every file of ``source`` into ``target``; copy where links are not possible."""
    for path in sorted(p for p in source.rglob("*") if p.is_file() and p.name != MANIFEST):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copyfile(path, place)


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        if _is_full(error):
            raise ArtifactError(
                f"no space left to write {path}: free some disk and run again; nothing was half-written"
            ) from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ArtifactError(f"{path} cannot be written ({error.strerror}): give this user the folder") from error
        raise


def _is_full(error: OSError | SafetensorError) -> bool:
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError):
        return error.errno in codes
    return any(f"(os error {code})" in str(error) for code in codes)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
