"""The gate of a pull request: its bundles verify, the guard accepted its model, and merging mixes no two models."""

from __future__ import annotations

import json
import subprocess
import sys
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


def review(root: Path, base: str, verify: Callable[[Path, str], str | None] | None = None) -> Review:
    """Examine what the commits since the base add. The bundles' files are those of the working tree.

    base: a revision; where git does not know it, the last commit alone is examined. verify: says what is wrong with
    a bundle of this id, None where nothing is; by default ``birdbone diff verify`` does.
    """
    start = base_of(root, base)
    problems = unbundled(root, start, "HEAD") + merges(root, start)
    problems += merge_problem(root, base) if fork(root, base) else []
    reports = []
    for bundle in added(root, start):
        folder = root / "diffs" / bundle
        problems += [f"bundle {bundle}: {said}" for said in _wrong(root, folder, verify or verified) if said]
        report = folder / "report.md"
        reports.append(report.read_text().rstrip("\n") if report.is_file() else f"Bundle {bundle} has no report.md.")
    text = "\n\n".join(reports) or "No bundle is added: the accepted model is the same."
    return Review(text + "\n", problems)


def base_of(root: Path, base: str) -> str:
    """The commit that the examined ones stand on: their merge base with ``base``.

    Without such a branch, or without a common ancestor, the commit before the last; for a first commit, nothing.
    """
    return fork(root, base) or repository.commit(root, "HEAD~1") or repository.EMPTY_TREE


def fork(root: Path, base: str) -> str | None:
    """The commit where HEAD left ``base``; None where git does not know that or they have no common ancestor."""
    try:
        return repository.git(root, "merge-base", base, "HEAD").decode().strip()
    except BirdboneError:
        return None


def added(root: Path, start: str) -> list[str]:
    """The ids of the bundles that HEAD has and ``start`` has not."""
    old, new = (set(repository.names(root, side, MANIFESTS)) for side in (start, "HEAD"))
    return sorted(PurePosixPath(path).parent.name for path in new - old)


def verified(root: Path, bundle: str) -> str | None:
    """What ``birdbone diff verify`` finds wrong with a bundle; None where nothing."""
    line = [sys.executable, "-c", "from birdbone.cli.main import main; main()", "diff", "verify", bundle]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"it does not verify: {said[-1].removeprefix('birdbone: ') if said else f'exit code {done.returncode}'}"


def _wrong(root: Path, folder: Path, verify: Callable[[Path, str], str | None]) -> list[str | None]:
    return [verify(root, folder.name), rejected(folder / "metrics.json")]


def rejected(metrics: Path) -> str | None:
    """Why the verdict in a bundle's ``metrics.json`` does not let it pass; None where the guard accepted."""
    try:
        found = json.loads(metrics.read_text())
        verdict = found["verdict"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{metrics.name} gives no verdict ({type(error).__name__}): make the bundle again"
    if verdict == ACCEPTED:
        return None
    change, limit, domain = (found.get(key) for key in ("worst_change", "limit", "worst_domain"))
    known = isinstance(change, float | int) and isinstance(limit, float | int)
    return f"the guard's verdict is {verdict!r}" + (
        f": perplexity {change:+.1%} on {domain}, allowed {limit:.1%}" if known else ""
    )
