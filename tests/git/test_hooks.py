"""What the hooks say of staged content, in real repositories."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from git_repos import ACCEPTED, NEW, OLD, OTHER, Repo, add_bundle, lock, manifest, new_repo
from small_notebooks import notebook

from birdbone.errors import BirdboneError
from birdbone.git import hooks


@pytest.fixture
def tracked(repo: Repo) -> Repo:
    """A repository that tracks the model ``OLD``."""
    repo.stage("dvc.lock", lock(OLD))
    repo.commit("the first model")
    return repo


def test_a_changed_model_needs_a_bundle_for_exactly_it(tracked: Repo) -> None:
    tracked.stage("dvc.lock", lock(NEW))
    (problem,) = hooks.weights(tracked.root)
    assert ACCEPTED in problem and OLD[:12] in problem and NEW[:12] in problem
    assert problem.endswith("birdbone bundle")

    add_bundle(tracked, "a" * 12, OTHER)
    assert len(hooks.weights(tracked.root)) == 1
    add_bundle(tracked, "b" * 12, NEW)
    assert hooks.weights(tracked.root) == []


def test_a_bundle_committed_before_counts_and_one_not_staged_does_not(tracked: Repo) -> None:
    tracked.write("diffs/cccccccccccc/manifest.json", manifest("c" * 12, NEW))
    tracked.stage("dvc.lock", lock(NEW))
    assert len(hooks.weights(tracked.root)) == 1
    tracked.git("reset", "-q")
    tracked.git("add", "diffs")
    tracked.commit("the bundle alone")
    tracked.stage("dvc.lock", lock(NEW))
    assert hooks.weights(tracked.root) == []
    tracked.git("rm", "-rq", "diffs")
    assert len(hooks.weights(tracked.root)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        json.dumps({"tracked": {"new": NEW}}),
        manifest("d" * 12, OTHER).replace(OTHER, NEW),
    ],
)
def test_a_manifest_that_is_damaged_or_was_edited_does_not_count(
    tracked: Repo, damage: str
) -> None:
    tracked.stage("diffs/dddddddddddd/manifest.json", damage)
    tracked.stage("dvc.lock", lock(NEW))
    assert len(hooks.weights(tracked.root)) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"data/08_reporting/report.html": "d" * 32},
        {"models/default/wave_2/healed": "d" * 32 + ".dir"},
        {"models/default/wave_1/accepted": "d" * 32 + ".dir"},
        {"models/default/wave_3/accepted": OLD},
    ],
    ids=["report", "intermediate state", "an earlier wave", "a further wave that changed nothing"],
)
def test_what_is_not_the_accepted_model_passes(tracked: Repo, changed: dict) -> None:
    tracked.stage("dvc.lock", lock(OLD, **changed))
    assert hooks.weights(tracked.root) == []


def test_the_last_wave_is_by_number_and_the_first_model_needs_a_bundle_too(repo: Repo) -> None:
    repo.stage("dvc.lock", lock(OLD, **{"models/default/wave_10/accepted": NEW}))
    (problem,) = hooks.weights(repo.root)
    assert "wave_10" in problem and "none ->" in problem
    add_bundle(repo, "a" * 12, NEW)
    assert hooks.weights(repo.root) == []


def test_a_lock_with_a_conflict_in_it_is_named(tracked: Repo) -> None:
    tracked.stage("dvc.lock", f"<<<<<<< HEAD\n{lock(OLD)}=======\n{lock(NEW)}>>>>>>> other\n")
    with pytest.raises(BirdboneError, match="dvc.lock has a conflict in it: take one side"):
        hooks.weights(tracked.root)


def test_commits_without_models_pass_even_the_very_first(tmp_path: Path) -> None:
    repo = new_repo(tmp_path / "empty")
    repo.stage("readme.txt", "text")
    assert hooks.weights(repo.root) == hooks.blobs(repo.root) == hooks.notebooks(repo.root) == []
    assert hooks.added_bundles(repo.root) == []


def test_pickles_and_large_files_are_refused_as_they_are_staged(repo: Repo) -> None:
    repo.stage("notes.dat", pickle.dumps([1]))
    repo.write("notes.dat", "harmless again, but not staged")
    repo.stage("model.pt", b"x")
    repo.stage("big.csv", b"1\n" * 500_001)
    repo.stage("fits.csv", b"1\n" * 500_000)
    repo.stage("docs/images/big.png", b"p" * 1_000_001)
    repo.stage("name with\nnewline.pkl", b"x")
    said = hooks.blobs(repo.root)
    assert [message.split(": ")[0] for message in said] == [
        "big.csv",
        "model.pt",
        "name with\nnewline.pkl",
        "notes.dat",
    ]
    assert "too large for git" in said[0] and "dvc add" in said[0] and "pickle" in said[3]


def test_what_a_commit_deletes_or_moves_out_of_sight_is_not_its_fault(repo: Repo) -> None:
    repo.stage("old.pt", b"x")
    (repo.root / "link.pt").symlink_to("old.pt")
    repo.git("add", "-f", "link.pt")
    repo.commit()
    repo.git("rm", "-q", "old.pt")
    assert hooks.blobs(repo.root) == []


def test_notebooks_with_outputs_are_named(repo: Repo) -> None:
    repo.stage("a.ipynb", notebook("x = 1"))
    repo.stage("b/b.ipynb", notebook("x = 1", ran=True))
    assert hooks.notebooks(repo.root) == ["b/b.ipynb"]


def test_trailers_come_after_the_message_once_each(repo: Repo) -> None:
    add_bundle(repo, "a" * 12)
    repo.commit("the bundle is not new after this")
    repo.stage("diffs/aaaaaaaaaaaa/manifest.json", manifest("a" * 12, OTHER))
    add_bundle(repo, "b" * 12)
    assert hooks.added_bundles(repo.root) == ["b" * 12]
    message = hooks.with_trailers(repo.root, "Subject\n\nBody.\n", ["b" * 12, "c" * 12])
    assert message == "Subject\n\nBody.\n\nBundle-Id: bbbbbbbbbbbb\nBundle-Id: cccccccccccc\n"
    assert hooks.with_trailers(repo.root, message, ["b" * 12]) == message
    assert hooks.with_trailers(repo.root, "Subject\n", []) == "Subject\n"
