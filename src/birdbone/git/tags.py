"""Tags of model versions: each sits on the commit that brought the bundle of its model."""

from __future__ import annotations

import json
from pathlib import Path

from birdbone.datasets.atomic import MANIFEST
from birdbone.errors import BirdboneError, ConfigError
from birdbone.git.lock import LOCK, Tracked, tracked_model
from birdbone.git.repository import commit, git, names, read


def check_tag(root: Path, tag: str) -> None:
    """Raises ConfigError where git takes no tag of this name, or has one already."""
    try:
        git(root, "check-ref-format", f"refs/tags/{tag}")
    except BirdboneError:
        raise ConfigError(
            f"--tag {tag!r}: git takes no such name; something like v0.2 is good"
        ) from None
    if there := commit(root, f"refs/tags/{tag}"):
        raise ConfigError(
            f"--tag {tag}: it is on commit {there[:12]} already; another name, or `git tag -d "
            f"{tag}`"
        )


def carrier(root: Path, model: Tracked) -> tuple[str, str] | None:
    """(commit, id) of the bundle that the last commit has of ``model``; None where it has none, or
    another model.

    The commit is the one that added the bundle, which later ones may stand on.
    """
    tracked = tracked_model((read(root, "HEAD", LOCK) or b"").decode())
    if tracked is None or tracked.md5 != model.md5:
        return None
    manifests = {
        path: json.loads(read(root, "HEAD", path))
        for path in names(root, "HEAD", f"diffs/*/{MANIFEST}")
    }
    bundles = {
        path: m["id"]
        for path, m in manifests.items()
        if (m["tracked"] or {}).get("new") == model.md5
    }
    if not bundles:
        return None
    added = ("log", "-1", "--diff-filter=A", "--name-only", "--format=%H", "HEAD", "--", *bundles)
    carrying, *paths = git(root, *added).decode().split()
    return carrying, bundles[paths[0]]


def set_tag(root: Path, tag: str, carrying: str, bundle: str) -> None:
    """An annotated tag on the commit, whose message names the bundle as a commit's trailer does."""
    git(
        root,
        "tag",
        "-a",
        tag,
        "-m",
        f"birdbone model {tag}",
        "-m",
        f"Bundle-Id: {bundle}",
        carrying,
    )
