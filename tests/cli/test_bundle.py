"""What ``birdbone bundle`` gives to git and what to DVC."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.repo import Repo as DvcRepo
from git_repos import SMALL_FILES, Repo, staged_bundle

from birdbone.git import hooks


def staged(repo: Repo) -> set[str]:
    return {
        Path(line).name
        for line in repo.git("diff", "--cached", "--name-only").split()
        if "diffs/" in line
    }


@pytest.mark.parametrize("size,in_git", [(hooks.LARGEST, True), (hooks.LARGEST + 1, False)])
def test_a_masks_patch_too_large_for_git_is_dvcs_and_the_hook_lets_the_bundle_pass(
    dvc_repo: Repo, size: int, in_git: bool
) -> None:
    folder = staged_bundle(dvc_repo, size)
    dvcs = {"weights.patch.dvc", ".gitignore"} | (set() if in_git else {"masks.patch.dvc"})
    assert staged(dvc_repo) == {*SMALL_FILES, *dvcs} | ({"masks.patch"} if in_git else set())
    assert hooks.blobs(dvc_repo.root) == []
    dvc_repo.commit("a bundle")
    assert dvc_repo.git("status", "--porcelain", "diffs") == ""
    (folder / "masks.patch").unlink()
    with DvcRepo(str(dvc_repo.root)) as repo:
        repo.checkout(force=True)
    assert (folder / "masks.patch").is_file() is not in_git
