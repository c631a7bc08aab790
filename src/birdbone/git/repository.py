"""What hooks and gate read from git, in bytes. Paths are relative to the repository."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from birdbone.errors import BirdboneError

INDEX = ""
"""The revision whose ``:path`` is what the commit under way will hold; also under ``git commit
-a``, for which git gives its hooks an index of its own.
"""

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True)
class Blob:
    """A file that a commit under way adds or changes. status: git's letter, ``A``: added."""

    path: str
    status: str
    sha: str


def git(root: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    """What a git command prints. Raises BirdboneError with git's message."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, input=stdin, capture_output=True)
    except FileNotFoundError as error:
        raise BirdboneError(f"git is not installed, or {root} is not there") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        if "not a git repository" in message:
            raise BirdboneError(
                f"{root} is no git repository: git init && git add -A && git commit -m begin"
            )
        message = message or f"failed with exit code {done.returncode}"
        raise BirdboneError(f"git {' '.join(arguments[:4])}: {message}")
    return done.stdout


def top(folder: Path) -> Path:
    """The repository's top folder. Raises BirdboneError outside a repository."""
    return Path(git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n"))


def commit(root: Path, revision: str) -> str | None:
    """A revision's full commit id, None where git knows no such revision."""
    try:
        name = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return name.decode().strip()
    except BirdboneError:
        return None


def merged(root: Path, a: str, b: str) -> tuple[str, list[str]]:
    """The tree that merging two commits gives, and its conflicting paths. No branch changes."""
    line = ("git", "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", a, b)
    done = subprocess.run(line, cwd=root, capture_output=True)
    if done.returncode not in (0, 1):
        message = done.stderr.decode(errors="replace").strip()
        raise BirdboneError(f"git merge-tree {a} {b}: {message} (git 2.38 or later is needed)")
    tree, *names = done.stdout.split(b"\0")
    return tree.decode().strip(), [name.decode(errors="surrogateescape") for name in names if name]


def staged(root: Path) -> list[Blob]:
    """The files that the commit under way adds or changes; links and submodules left out."""
    fields = git(
        root, "diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--diff-filter=AMT"
    ).split(b"\0")
    blobs = []
    for entry, path in zip(fields[0:-1:2], fields[1::2], strict=True):
        _, mode, _, sha, status = entry.decode().lstrip(":").split(" ")
        if mode.startswith("100"):
            blobs.append(Blob(path.decode(errors="surrogateescape"), status, sha))
    return blobs


def size(root: Path, blob: Blob) -> int:
    """A blob's size in bytes."""
    return int(git(root, "cat-file", "-s", blob.sha))


def content(root: Path, blob: Blob) -> bytes:
    """A blob's bytes."""
    return git(root, "cat-file", "blob", blob.sha)


def read(root: Path, revision: str, path: str) -> bytes | None:
    """A file as it is in a revision or in the index (``INDEX``), None where it is not there."""
    try:
        return git(root, "cat-file", "blob", f"{revision}:{path}")
    except BirdboneError:
        return None


def names(root: Path, revision: str, pattern: str) -> list[str]:
    """The paths in a revision or in the index that match a git pathspec with ``*``."""
    if revision == INDEX:
        listing = git(root, "ls-files", "-z", "--", pattern)
    else:
        listing = git(
            root, "diff", "--name-only", "-z", "--no-renames", EMPTY_TREE, revision, "--", pattern
        )
    return [name.decode(errors="surrogateescape") for name in listing.split(b"\0") if name]
