"""Two branches that both changed the model: a clear conflict, never a silent mix."""

from __future__ import annotations

import subprocess

import pytest
from git_repos import Repo, add_bundle, hooked_git, model_of, run_lock

from birdbone.git.merges import disagreements, mixed
from birdbone.git.review import examine

QUICK = {"SKIP": "ruff,ruff-format,mdformat,notebooks,blobs"}
"""Of the hooks, those that have nothing to do here."""
OURS, THEIRS, NEW = "a" * 12, "b" * 12, "c" * 12
TWO, OTHER_FIRST, OTHER_LAST, THREE = run_lock(2), run_lock(2, 1), run_lock(2, 2), run_lock(3)


def run(repo: Repo, lock: str, bundle: str, message: str) -> None:
    """Stage and commit what a run leaves: lock, a report and a bundle."""
    repo.stage("dvc.lock", lock)
    repo.stage("data/08_reporting/metrics.json", f'{{"model": "{model_of(lock)}"}}\n')
    repo.stage("conf/base/parameters.yml", f"# {message}\n")
    add_bundle(repo, bundle, model_of(lock))
    repo.commit(message)


def fork(repo: Repo, ours: str, theirs: str) -> Repo:
    """A repository on ``main``, whose model is another one than that of ``change``; both began with
    two waves.
    """
    run(repo, TWO, "0" * 12, "a run")
    repo.git("checkout", "-q", "-B", "change")
    run(repo, theirs, THEIRS, "their run")
    repo.git("checkout", "-q", "main")
    run(repo, ours, OURS, "our run")
    return repo


def merge(repo: Repo) -> subprocess.CompletedProcess[str]:
    """`git merge change`; the reports and the configuration, which conflict as text too, are ours
    already.
    """
    return hooked_git(repo, "merge", "--no-edit", "-X", "ours", "change", **QUICK)


def commit(repo: Repo) -> subprocess.CompletedProcess[str]:
    return hooked_git(repo, "commit", "--no-edit", **QUICK)


def lock_of(repo: Repo) -> str:
    return repo.git("show", "HEAD:dvc.lock")


def parents(repo: Repo) -> int:
    return len(repo.git("log", "-1", "--format=%P").split())


def test_the_same_stage_changed_twice_conflicts_as_text_and_a_side_ends_it(hooked: Repo) -> None:
    fork(hooked, OTHER_LAST, run_lock(2, 1, 2))
    done = hooked_git(hooked, "merge", "--no-edit", "change", **QUICK)
    assert done.returncode == 1 and "CONFLICT (content): Merge conflict in dvc.lock" in done.stdout

    hooked.git("add", "-A")
    stopped = commit(hooked)
    assert stopped.returncode == 1 and parents(hooked) == 1
    assert (
        "dvc.lock has a conflict in it: take one side's run whole: git checkout HEAD -- dvc.lock"
        in stopped.stderr
    )

    hooked.git("checkout", "MERGE_HEAD", "--", "dvc.lock", "data", "conf")
    done = commit(hooked)
    assert done.returncode == 0, done.stderr
    assert parents(hooked) == 2 and lock_of(hooked) == run_lock(2, 1, 2)


def test_different_stages_changed_merge_as_text_and_are_stopped_all_the_same(hooked: Repo) -> None:
    fork(hooked, THREE, run_lock(2, 2))
    stopped = merge(hooked)
    assert stopped.returncode == 1 and parents(hooked) == 1
    silent = hooked.git("show", ":dvc.lock")
    assert "<<<" not in silent and silent not in (
        THREE,
        run_lock(2, 2),
    )  # git itself saw nothing wrong
    assert (
        "dvc.lock mixes two runs: wave_3-guard ran on models/default/wave_2/accepted"
        in stopped.stderr
    )
    assert (
        "git checkout MERGE_HEAD -- dvc.lock data conf (theirs), then dvc checkout"
        in stopped.stderr
    )
    assert "dvc repro, then birdbone bundle" in stopped.stderr
    assert commit(hooked).returncode == 1, "the mix may not be committed by hand either"

    hooked.git("checkout", "HEAD", "--", "dvc.lock", "data", "conf")
    done = commit(hooked)
    assert done.returncode == 0, done.stderr
    assert parents(hooked) == 2 and lock_of(hooked) == THREE
    assert "Bundle-Id" not in hooked.git("log", "-1", "--format=%B"), (
        "its bundle came with a commit of before"
    )


def test_both_changes_may_be_kept_by_a_run_of_both_whose_bundle_is_named(hooked: Repo) -> None:
    fork(hooked, THREE, run_lock(2, 2))
    assert merge(hooked).returncode == 1
    both = run_lock(3, 2)
    hooked.stage("dvc.lock", both)
    stopped = commit(hooked)
    assert stopped.returncode == 1 and "no bundle in diffs/ shows it" in stopped.stderr
    add_bundle(hooked, NEW, model_of(both))
    done = commit(hooked)
    assert done.returncode == 0, done.stderr
    assert hooked.git("log", "-1", "--format=%B").strip().endswith(f"Bundle-Id: {NEW}")
    assert hooked.git("log", "-1", "--format=%B").count("Bundle-Id") == 1


def test_a_branch_that_left_the_model_merges_without_a_word(hooked: Repo) -> None:
    run(hooked, TWO, "0" * 12, "a run")
    hooked.git("checkout", "-q", "-B", "change")
    hooked.stage("words.txt", "words\n")
    hooked.commit("words")
    hooked.git("checkout", "-q", "main")
    run(hooked, THREE, OURS, "our run")
    done = merge(hooked)
    assert done.returncode == 0, done.stderr
    assert parents(hooked) == 2 and lock_of(hooked) == THREE


@pytest.mark.parametrize(
    "ours,theirs", [(THREE, OTHER_LAST), (OTHER_FIRST, THREE), (OTHER_LAST, run_lock(2, 1, 2))]
)
def test_the_gate_tells_of_it_before_anyone_merges(repo: Repo, ours: str, theirs: str) -> None:
    fork(repo, ours, theirs)
    repo.git("checkout", "-q", "change")
    (problem,) = examine(repo.root, "main", lambda folder: None).problems
    assert "mixes two runs" in problem or "dvc.lock conflicts with that of main" in problem
    assert "git checkout HEAD -- dvc.lock data conf" in problem
    assert examine(repo.root, "change", lambda folder: None).problems == []


def test_the_gate_finds_a_mix_that_was_merged_past_the_hooks(repo: Repo) -> None:
    fork(repo, THREE, OTHER_LAST)
    repo.git("merge", "-q", "--no-edit", "--no-verify", "-X", "ours", "change")
    assert any(
        "mixes two runs" in said
        for said in examine(repo.root, "change", lambda folder: None).problems
    )


def test_what_one_side_had_already_is_not_the_merges_fault() -> None:
    stale = THREE.replace(model_of(TWO), "e" * 32 + ".dir", 1)
    assert len(disagreements(stale.encode())) == 1
    assert mixed(stale.encode(), [stale.encode(), TWO.encode()]) is None
    assert mixed(stale.encode(), [THREE.encode(), TWO.encode()])
    assert (
        not disagreements(THREE.encode())
        and not disagreements(None)
        and not disagreements(b"stages: {}")
    )
