"""The gate of a pull request: bundles verify, the guard accepted, and merging mixes no models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from birdbone.errors import BirdboneError
from birdbone.git import repository
from birdbone.git.hooks import MANIFESTS, unbundled
from birdbone.git.merges import merge_problem, merges

ACCEPTED = "accepted"


@dataclass(frozen=True)
class Review:
    """text: the reports, as Markdown. problems: why this must not be merged; empty where it may."""

    text: str
    problems: list[str]


def examine(root: Path, base: str, verify: Callable[[Path], str | None]) -> Review:
    """Examine what the commits since the base add. Bundles are read from the working tree.

    base: a revision; where git does not know it, only the last commit is examined. verify: returns
    what is wrong with the bundle in a folder, None where nothing is.
    """
    start = base_of(root, base)
    problems = unbundled(root, start, "HEAD") + merges(root, start)
    problems += merge_problem(root, base) if fork(root, base) else []
    reports = []
    for bundle in added(root, start):
        folder = root / "diffs" / bundle
        faults = [verify(folder), rejected(folder / "metrics.json")]
        problems += [f"bundle {bundle}: {fault}" for fault in faults if fault]
        report = folder / "report.md"
        missing = f"Bundle {bundle} has no report.md."
        reports.append(report.read_text().rstrip("\n") if report.is_file() else missing)
    text = "\n\n".join(reports) or "No bundle is added: the accepted model is the same."
    return Review(text + "\n", problems)


def base_of(root: Path, base: str) -> str:
    """The commit that the examined ones stand on: their merge base with ``base``.

    Without such a branch, or without a common ancestor, the commit before the last; for a first
    commit, nothing.
    """
    return fork(root, base) or repository.commit(root, "HEAD~1") or repository.EMPTY_TREE


def fork(root: Path, base: str) -> str | None:
    """The commit where HEAD left ``base``; None without such a branch or a common ancestor."""
    try:
        return repository.git(root, "merge-base", base, "HEAD").decode().strip()
    except BirdboneError:
        return None


def added(root: Path, start: str) -> list[str]:
    """The ids of the bundles that HEAD has and ``start`` has not."""
    old, new = (set(repository.names(root, side, MANIFESTS)) for side in (start, "HEAD"))
    return sorted(PurePosixPath(path).parent.name for path in new - old)


def rejected(metrics: Path) -> str | None:
    """Why a bundle's ``metrics.json`` does not let it pass; None where the guard accepted."""
    try:
        figures = json.loads(metrics.read_text())
        verdict = figures["verdict"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{metrics.name} gives no verdict ({type(error).__name__}): make the bundle again"
    if verdict == ACCEPTED:
        return None
    change, limit, domain = (figures.get(key) for key in ("worst_change", "limit", "worst_domain"))
    measured = isinstance(change, float | int) and isinstance(limit, float | int)
    return f"the guard's verdict is {verdict!r}" + (
        f": perplexity {change:+.1%} on {domain}, allowed {limit:.1%}" if measured else ""
    )
