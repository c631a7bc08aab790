"""Whether a merged ``dvc.lock`` records one run.

Two branches that changed the same stage conflict as text. Two that changed different stages may
merge silently into a lock that nobody ran. It shows where a stage read another state than the one
recorded as the output of the stage before it. Where all stages under the accepted model agree, the
record is one branch's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from birdbone.git import repository
from birdbone.git.lock import LOCK, tracked_model

GITHEAD = re.compile(r"GITHEAD_([0-9a-f]{40,64})")
ONE_SIDE = (
    f"take one side's run whole: git checkout HEAD -- {LOCK} data conf (yours) or git checkout "
    f"MERGE_HEAD -- {LOCK} data conf (theirs), then dvc checkout; or keep both changes and run "
    "again: dvc repro, then birdbone bundle"
)

Disagreement = tuple[str, str, str, str]
"""Stage, path that it read, hash it read, hash that the lock has for that path as an output."""


def disagreements(lock: bytes | None) -> set[Disagreement]:
    """Where the stages behind the accepted model disagree in a ``dvc.lock``; empty without a model.

    Raises YAMLError, KeyError and the like where it is no lock.
    """
    model = tracked_model(lock.decode()) if lock else None
    if model is None:
        return set()
    stages = yaml.safe_load(lock)["stages"]
    outputs: dict[str, tuple[str, Any]] = {
        out["path"]: (name, out.get("md5"))
        for name, stage in stages.items()
        for out in stage.get("outs", [])
    }
    differing = set()
    waiting = [model.stage]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for dep in stages[name].get("deps", []):
            maker, md5 = outputs.get(dep["path"], (None, None))
            if maker is None:
                continue
            waiting.append(maker)
            if dep.get("md5") != md5:
                differing.add((name, dep["path"], str(dep.get("md5")), str(md5)))
    return differing


def mixed(lock: bytes | None, sides: list[bytes | None]) -> str | None:
    """Why a merged lock is neither side's run nor a new one; None where it is.

    Disagreements that one side has already are not counted.
    """
    differing = disagreements(lock).difference(*map(disagreements, sides))
    if not differing:
        return None
    stage, path, read_hash, lock_hash = min(differing)
    return (
        f"{LOCK} mixes two runs: {stage} ran on {path} {read_hash[:12]}, and what lies there is "
        f"{lock_hash[:12]}. {ONE_SIDE}"
    )


def other_sides(root: Path) -> list[str]:
    """The commits that the commit under way merges into HEAD; none where it is no merge.

    git writes ``MERGE_HEAD`` only after the hook ``pre-merge-commit``, and gives that hook the
    commits in its environment.
    """
    try:
        path = repository.git(root, "rev-parse", "--git-path", "MERGE_HEAD").decode().rstrip("\n")
        return (root / path).read_text().split()
    except OSError:
        named = [match[1] for match in map(GITHEAD.fullmatch, sorted(os.environ)) if match]
        return [sha for sha in named if repository.commit(root, sha)]


def merge_problem(root: Path, base: str) -> list[str]:
    """Why HEAD must not be merged into the base as it is: their locks conflict, or would mix."""
    tree, conflicts = repository.merged(root, base, "HEAD")
    if LOCK in conflicts:
        return [
            f"{LOCK} conflicts with that of {base}, for both changed the model. Merge {base}: "
            f"{ONE_SIDE}"
        ]
    problem = mixed(*_locks(root, tree, [base, "HEAD"]))
    return [f"merged with {base}: {problem}"] if problem else []


def merges(root: Path, start: str) -> list[str]:
    """What is wrong with the merges since a commit, or all: some may have bypassed the hooks."""
    since = [] if start == repository.EMPTY_TREE else [f"^{start}"]
    listed = (
        repository.git(root, "rev-list", "--merges", "--parents", "HEAD", *since)
        .decode()
        .splitlines()
    )
    problems = []
    for commit, *parents in map(str.split, listed):
        if problem := mixed(*_locks(root, commit, parents)):
            problems.append(f"merge {commit[:10]}: {problem}")
    return problems


def _locks(root: Path, result: str, sides: list[str]) -> tuple[bytes | None, list[bytes | None]]:
    return repository.read(root, result, LOCK), [
        repository.read(root, side, LOCK) for side in sides
    ]
