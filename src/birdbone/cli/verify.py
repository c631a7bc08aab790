"""Every artifact of a profile re-hashed against its manifest, and every object of DVC's cache against its name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from birdbone.datasets.place import place_of
from birdbone.run.ledger import dataset_digest, is_parameter

DAMAGED = "DAMAGED"


def artifacts(root: Path, env: str | None) -> dict[str, str]:
    """Catalog entry -> ``ok``, ``absent`` or ``DAMAGED``, for all that the main job reads and writes."""
    from kedro.framework.session import KedroSession

    states = {}
    with KedroSession.create(root, env=env) as session:
        catalog = session.load_context().catalog
        from kedro.framework.project import pipelines

        for name in sorted(pipelines["__default__"].datasets()):
            dataset = None if is_parameter(name) else catalog.get(name)
            place = place_of(dataset)
            if place and place.exists():
                states[name] = "ok" if dataset_digest(dataset) else DAMAGED
            elif place:
                states[name] = "absent"
    return states


def cached(root: Path) -> tuple[int, list[str]]:
    """How many objects DVC's cache holds, and those that are not what their name says: hash and, where known, path."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            cache = Path(repo.cache.local.path)
    except DvcException:  # no DVC or no git here
        return 0, []
    objects = sorted(p for p in cache.glob("[0-9a-f][0-9a-f]/*") if p.is_file() and len(p.name.split(".")[0]) == 30)
    bad = [p for p in objects if _md5(p) != (p.parent.name + p.name).removesuffix(".dir")]
    paths = _paths(root, cache) if bad else {}
    hashes = [p.parent.name + p.name for p in bad]
    return len(objects), [f"{md5} ({paths[md5]})" if md5 in paths else md5 for md5 in hashes]


def advice(states: dict[str, str], damaged: list[str], unlike: Sequence[str] = ()) -> str | None:
    """What is wrong and what to do about it; None where nothing is."""
    problems, bad = [], [name for name, state in states.items() if state == DAMAGED]
    if bad:
        problems.append(
            f"{len(bad)} artifacts do not match their manifests: {', '.join(bad)}. Delete them and run again, or "
            "restore them with dvc checkout"
        )
    if damaged:
        problems.append(
            f"{len(damaged)} objects of DVC's cache are damaged: {', '.join(damaged)}. Delete them from the cache, "
            "then dvc pull, or birdbone record where the workspace's copy is sound"
        )
    if unlike:
        problems.append(
            f"dvc.lock has other parameters than were used: {'; '.join(unlike)}. Run again as conf/base says "
            "(kedro run --env=base) or write what was used into it, then birdbone record"
        )
    return ". ".join(problems) or None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _paths(root: Path, cache: Path) -> dict[str, str]:
    """Hash -> path, for what the workspace's ``dvc.lock`` has and the files in its folders."""
    lock = root / "dvc.lock"
    stages = ((yaml.safe_load(lock.read_text()) or {}).get("stages") or {}) if lock.is_file() else {}
    paths = {out["md5"]: out["path"] for s in stages.values() for out in s.get("outs", []) if "md5" in out}
    for md5, path in list(paths.items()):
        listing = cache / md5[:2] / md5[2:]
        if md5.endswith(".dir") and listing.is_file():
            try:
                paths |= {entry["md5"]: f"{path}/{entry['relpath']}" for entry in json.loads(listing.read_bytes())}
            except (ValueError, KeyError, TypeError):
                continue  # a damaged listing names nothing
    return paths
