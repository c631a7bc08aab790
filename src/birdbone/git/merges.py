"""Whether a ``dvc.lock`` that came out of a merge tells of one run.

Two branches that changed the same stage conflict as text. Two that changed different stages may merge without a
word into a lock that nobody ran. It shows: a stage then read another state than the one recorded as the output of
the stage before it. Where all stages under the accepted model agree with each other, their record is one branch's.
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
    f"take one side's run whole: git checkout HEAD -- {LOCK} data conf (yours) or git checkout MERGE_HEAD -- {LOCK} "
    "data conf (theirs), then dvc checkout; or keep both changes and run again: dvc repro, then birdbone bundle"
)

Disagreement = tuple[str, str, str, str]
"""Stage, path that it read, hash it read, hash that the lock has for that path as an output."""


def disagreements(lock: bytes | None) -> set[Disagreement]:
    """Where the stages that the accepted model was made by do not agree in a ``dvc.lock``; empty without a model.

    Raises YAMLError, KeyError and the like where it is no lock.
    """
    model = tracked_model(lock.decode()) if lock else None
    if model is None:
        return set()
    stages = yaml.safe_load(lock)["stages"]
    made: dict[str, tuple[str, Any]] = {
        out["path"]: (name, out.get("md5")) for name, stage in stages.items() for out in stage.get("outs", [])
    }
    found, waiting, seen = set(), [model.stage], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for dep in stages[name].get("deps", []):
            maker, md5 = made.get(dep["path"], (None, None))
            if maker is None:
                continue
            waiting.append(maker)
            if dep.get("md5") != md5:
                found.add((name, dep["path"], str(dep.get("md5")), str(md5)))
    return found


def mixed(lock: bytes | None, sides: list[bytes | None]) -> str | None:
    """Why a merged lock is neither side's run nor a new one; None where it is. What a side brings along is its own."""
    found = disagreements(lock).difference(*map(disagreements, sides))
    if not found:
        return None
    stage, path, read, made = min(found)
    return f"{LOCK} mixes two runs: {stage} ran on {path} {read[:12]}, and what lies there is {made[:12]}. {ONE_SIDE}"


def other_sides(root: Path) -> list[str]:
    """The commits that the commit under way merges into HEAD; none where it is no merge.

    git writes ``MERGE_HEAD`` only after the hook ``pre-merge-commit``, and tells that one by its environment.
    """
    try:
        path = root / repository.git(root, "rev-parse", "--git-path", "MERGE_HEAD").decode().rstrip("\n")
        return path.read_text().split()
    except OSError:
        named = [match[1] for match in map(GITHEAD.fullmatch, sorted(os.environ)) if match]
        return [sha for sha in named if repository.commit(root, sha)]


def merge_problem(root: Path, base: str) -> list[str]:
    """Why HEAD and the branch to merge into must not be merged as they are: their locks conflict, or would mix."""
    tree, conflicts = repository.merged(root, base, "HEAD")
    if LOCK in conflicts:
        return [f"{LOCK} conflicts with that of {base}, for both changed the model. Merge {base}: {ONE_SIDE}"]
    problem = mixed(*_locks(root, tree, [base, "HEAD"]))
    return [f"merged with {base}: {problem}"] if problem else []


def merges(root: Path, start: str) -> list[str]:
    """What is wrong with the merges since a commit (or the beginning) that were made past the hooks."""
    since = [] if start == repository.EMPTY_TREE else [f"^{start}"]
    listed = repository.git(root, "rev-list", "--merges", "--parents", "HEAD", *since).decode().splitlines()
    found = []
    for commit, *parents in map(str.split, listed):
        if problem := mixed(*_locks(root, commit, parents)):
            found.append(f"merge {commit[:10]}: {problem}")
    return found


def _locks(root: Path, result: str, sides: list[str]) -> tuple[bytes | None, list[bytes | None]]:
    return repository.read(root, result, LOCK), [repository.read(root, side, LOCK) for side in sides]
