"""What the hooks check in a commit under way. Each returns one message a problem; none writes.

``weights`` decides from ``dvc.lock`` alone. The model under review is the accepted model of the
last wave (``tracked_model``): the commit must hold a bundle for it whenever its digest is not the
one of the commit before. Nothing else that DVC tracks counts: neither reports nor intermediate
states, nor the seed while the accepted model stays the same. A merge of two branches that both
changed the model must be one side's run, or a new one.
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path, PurePosixPath

from yaml import YAMLError

from birdbone.datasets.atomic import json_digest
from birdbone.errors import BirdboneError
from birdbone.git import repository
from birdbone.git.lock import LOCK, Tracked, tracked_model
from birdbone.git.merges import ONE_SIDE, mixed, other_sides
from birdbone.git.notebooks import is_clean
from birdbone.git.pickles import pickle_reason

MANIFESTS = "diffs/*/manifest.json"
TRAILER = "Bundle-Id"
LARGEST = 1_000_000
"""Bytes that a file in git may have."""

LARGE_ALLOWED = ("docs/images/*", "requirements.lock")


def weights(root: Path) -> list[str]:
    """A changed model without the bundle that shows the change, and a merge that mixes two."""
    return unbundled(root, "HEAD", repository.INDEX) or _mixed(root)


def unbundled(root: Path, before: str, after: str) -> list[str]:
    """The same between any two states: revisions or ``repository.INDEX``."""
    old, new = (repository.read(root, side, LOCK) for side in (before, after))
    if new is None or new == old:
        return []
    manifests = (
        repository.read(root, after, path) for path in repository.names(root, after, MANIFESTS)
    )
    problem = weights_problem(old, new, [manifest for manifest in manifests if manifest])
    return [problem] if problem else []


def weights_problem(old: bytes | None, new: bytes, manifests: list[bytes]) -> str | None:
    """Why a change of ``dvc.lock`` and these bundles' manifests disagree; None where they agree."""
    now = _model(new)
    was = _model(old) if old else None
    if now is None or (was and was.md5 == now.md5):
        return None
    if now.md5 in {tracked["new"] for tracked in map(_tracked, manifests) if tracked}:
        return None
    change = f"{was.md5[:12] if was else 'none'} -> {now.md5[:12]}"
    return (
        f"{LOCK}: {now.path} changes ({change}) and no bundle in diffs/ shows it. Make and stage "
        "one: birdbone bundle"
    )


def blobs(root: Path) -> list[str]:
    """Pickles, and files too large for git."""
    problems = []
    for blob in repository.staged(root):
        size = repository.size(root, blob)
        if size > LARGEST and not any(
            fnmatch.fnmatch(blob.path, allowed) for allowed in LARGE_ALLOWED
        ):
            problems.append(
                f"{blob.path}: {size / 1e6:.1f} MB is too large for git (1 MB): git rm --cached "
                "it, and dvc add it"
            )
        elif reason := pickle_reason(blob.path, repository.content(root, blob)):
            problems.append(
                f"{blob.path}: {reason}, which runs code when loaded: save it as safetensors or "
                "JSON"
            )
    return problems


def notebooks(root: Path) -> list[str]:
    """The paths of staged notebooks with outputs, counts or volatile metadata."""
    staged = [
        blob for blob in repository.staged(root) if PurePosixPath(blob.path).suffix == ".ipynb"
    ]
    return [blob.path for blob in staged if not is_clean(_text(root, blob), blob.path)]


def added_bundles(root: Path) -> list[str]:
    """The ids of the bundles that the commit under way adds; in a merge, those that no side had."""
    added = {blob.path for blob in repository.staged(root) if blob.status == "A"}
    added.difference_update(
        *(repository.names(root, side, MANIFESTS) for side in other_sides(root))
    )
    return [
        PurePosixPath(path).parent.name
        for path in sorted(added)
        if fnmatch.fnmatch(path, MANIFESTS)
    ]


def with_trailers(root: Path, message: str, bundles: list[str]) -> str:
    """A commit message that ends with ``Bundle-Id: <id>`` for each of the bundles, each once."""
    arguments = [part for bundle in bundles for part in ("--trailer", f"{TRAILER}: {bundle}")]
    if not arguments:
        return message
    command = ("interpret-trailers", "--if-exists", "addIfDifferent", *arguments)
    return repository.git(root, *command, stdin=message.encode()).decode()


def _mixed(root: Path) -> list[str]:
    others = other_sides(root)
    lock, *sides = (
        repository.read(root, side, LOCK) for side in (repository.INDEX, "HEAD", *others)
    )
    problem = mixed(lock, sides) if others else None
    return [problem] if problem else []


def _model(lock: bytes) -> Tracked | None:
    try:
        return tracked_model(lock.decode())
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        conflict = b"<<<<<<<" in lock
        what = "cannot be read: dvc repro writes it anew"
        if conflict:
            what = f"has a conflict in it: {ONE_SIDE}"
        raise BirdboneError(f"{LOCK} {what}") from error


def _tracked(manifest: bytes) -> dict | None:
    """A bundle's DVC record; None where there is none or the manifest was changed since."""
    try:
        content = json.loads(manifest)
        good = content["sha256"] == json_digest(content)
        tracked = content["tracked"] if good else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return tracked if isinstance(tracked, dict) and "new" in tracked else None


def _text(root: Path, blob: repository.Blob) -> str:
    try:
        return repository.content(root, blob).decode()
    except UnicodeDecodeError as error:
        raise BirdboneError(f"{blob.path} is not a notebook: it is not UTF-8") from error
