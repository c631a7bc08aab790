"""What `birdbone bundle` gives to git and what to DVC, and what `birdbone verify` finds in DVC's cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.repo import Repo as DvcRepo
from repos import Repo

from birdbone.cli.bundle import stage
from birdbone.cli.verify import advice, cached
from birdbone.git import hooks

SMALL = ("report.md", "manifest.json", "metrics.json")


@pytest.fixture
def tracked(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A git repository with DVC in it."""
    monkeypatch.chdir(repo.root)
    DvcRepo.init(str(repo.root)).close()
    repo.commit("dvc")
    return repo


def bundle(repo: Repo, masks: int) -> Path:
    """A bundle whose masks.patch has so many bytes, staged."""
    folder = repo.root / "diffs/aaaaaaaaaaaa"
    for name, size in {**dict.fromkeys(SMALL, 10), "weights.patch": 20, "masks.patch": masks}.items():
        repo.write(f"diffs/aaaaaaaaaaaa/{name}", bytes([size % 251]) * size)
    stage(repo.root, folder)
    return folder


def staged(repo: Repo) -> set[str]:
    return {Path(line).name for line in repo.git("diff", "--cached", "--name-only").split() if "diffs/" in line}


@pytest.mark.parametrize("size,in_git", [(hooks.LARGEST, True), (hooks.LARGEST + 1, False)])
def test_a_masks_patch_too_large_for_git_is_dvcs_and_the_hook_lets_the_bundle_pass(
    tracked: Repo, size: int, in_git: bool
) -> None:
    folder = bundle(tracked, size)
    dvcs = {"weights.patch.dvc", ".gitignore"} | (set() if in_git else {"masks.patch.dvc"})
    assert staged(tracked) == {*SMALL, *dvcs} | ({"masks.patch"} if in_git else set())
    assert hooks.blobs(tracked.root) == []
    tracked.commit("a bundle")
    assert tracked.git("status", "--porcelain", "diffs") == ""
    (folder / "masks.patch").unlink()
    with DvcRepo(str(tracked.root)) as repo:
        repo.checkout(force=True)
    assert (folder / "masks.patch").is_file() is not in_git


def test_a_changed_object_in_dvcs_cache_is_named(tracked: Repo) -> None:
    assert cached(tracked.root) == (0, [])
    bundle(tracked, 100)
    assert cached(tracked.root) == (1, [])
    (held,) = (p for p in (tracked.root / ".dvc/cache/files/md5").glob("*/*") if p.is_file())
    md5 = held.parent.name + held.name
    held.chmod(0o644)
    held.write_bytes(b"another")
    assert cached(tracked.root) == (1, [md5])
    tracked.write("dvc.lock", f"stages: {{s: {{outs: [{{path: models/a, md5: {md5}}}]}}}}")
    count, damaged = cached(tracked.root)
    assert damaged == [f"{md5} (models/a)"]
    assert md5 in advice({"seed": "ok"}, damaged) and "dvc pull" in advice({}, damaged)
    assert advice({"seed": "ok", "texts": "absent"}, []) is None


def test_a_folder_without_dvc_has_no_cache(tmp_path: Path) -> None:
    assert cached(tmp_path) == (0, [])
