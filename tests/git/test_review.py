"""The gate of a pull request."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from git_repos import ACCEPTED, NEW, OLD, Repo, add_bundle, lock
from places import ROOT

from birdbone.cli.hook import fault
from birdbone.git.repository import EMPTY_TREE
from birdbone.git.review import base_of, examine, rejected

sys.path.append(str(ROOT / "tests/diff"))  # its tiny models, when this folder is run alone


def sound(folder: Path) -> None:
    return None


@pytest.fixture
def branch(repo: Repo) -> Repo:
    """A branch that starts from a main with a model and a bundle of its own; main has gone on
    since.
    """
    repo.stage("dvc.lock", lock(OLD))
    add_bundle(repo, "0" * 12, OLD)
    repo.commit("main")
    repo.git("checkout", "-q", "-b", "change")
    repo.git("checkout", "-q", "main")
    add_bundle(repo, "9" * 12, OLD)
    repo.commit("main goes on")
    repo.git("checkout", "-q", "change")
    return repo


def test_the_bundles_of_the_branch_alone_are_shown_and_pass(branch: Repo) -> None:
    branch.stage("dvc.lock", lock(NEW))
    add_bundle(branch, "a" * 12)
    branch.commit("longer heal")
    asked = []
    outcome = examine(branch.root, "main", lambda folder: asked.append(folder.name))
    assert outcome.problems == []
    assert outcome.text == "# Bundle aaaaaaaaaaaa\n"
    assert asked == ["a" * 12]


def test_without_bundles_there_is_nothing_to_stop(branch: Repo) -> None:
    branch.stage("readme.txt", "x")
    branch.commit("words")
    outcome = examine(branch.root, "main", sound)
    assert (outcome.text, outcome.problems) == (
        "No bundle is added: the accepted model is the same.\n",
        [],
    )


def test_a_rejected_model_a_damaged_bundle_and_a_hidden_change_are_stopped(branch: Repo) -> None:
    branch.stage("dvc.lock", lock(NEW))
    branch.commit("past the hooks")
    (problem,) = examine(branch.root, "main", sound).problems
    assert "birdbone bundle" in problem

    add_bundle(branch, "b" * 12, verdict="rejected")
    branch.commit("the bundle")
    outcome = examine(branch.root, "main", lambda folder: "a byte is wrong")
    assert outcome.problems == [
        f"bundle {'b' * 12}: a byte is wrong",
        f"bundle {'b' * 12}: the guard's verdict is 'rejected': perplexity +5.0% on code, allowed "
        "3.0%",
    ]


@pytest.mark.parametrize(
    "metrics", [None, "", "{}", "[]", '{"verdict": "not judged"}', '{"verdict": true}']
)
def test_only_an_accepted_model_passes(repo: Repo, metrics: str | None) -> None:
    path = repo.root / "metrics.json"
    if metrics is not None:
        path.write_text(metrics)
    assert rejected(path)
    path.write_text('{"verdict": "accepted"}')
    assert rejected(path) is None


def test_the_base_is_the_fork_point_else_the_last_commit_else_nothing(branch: Repo) -> None:
    first = branch.git("rev-list", "--max-parents=0", "HEAD").strip()
    fork = branch.git("rev-parse", "HEAD").strip()
    branch.commit("one more")
    assert base_of(branch.root, "main") == fork
    assert base_of(branch.root, "origin/main") == fork
    branch.git("checkout", "-q", first)
    assert base_of(branch.root, "origin/main") == EMPTY_TREE


def test_the_command_prints_the_reports_and_ends_with_the_gates_exit_code(branch: Repo) -> None:
    line = ("birdbone", "hook", "review", "--base", "main")
    branch.write("conf/logging.yml", (ROOT / "conf/logging.yml").read_text())
    branch.commit("nothing")
    done = branch.run(*line)
    assert (done.returncode, done.stdout) == (
        0,
        "No bundle is added: the accepted model is the same.\n",
    )
    branch.write("pyproject.toml", (ROOT / "pyproject.toml").read_text())
    branch.stage("dvc.lock", lock(NEW))
    add_bundle(branch, "c" * 12)
    branch.commit("a bundle whose patches are missing")
    done = branch.run(*line)
    assert done.returncode == 1
    assert done.stdout == "# Bundle cccccccccccc\n"
    assert (
        "bundle cccccccccccc: it does not verify" in done.stderr and "Traceback" not in done.stderr
    )


def test_a_real_bundle_verifies_until_one_of_its_bytes_changes(branch: Repo) -> None:
    from model_pairs import healed, tiny

    from birdbone.diff.bundle import write_bundle
    from birdbone.diff.records import Records
    from birdbone.diff.revisions import Side
    from birdbone.diff.states import state_of
    from birdbone.git.lock import Tracked

    seed = tiny()
    final = {
        "accepted": True,
        "domains": {},
        "worst_domain": "code",
        "worst_change": 0.01,
        "limit": 0.03,
    }
    new = Side(
        "new",
        state_of(healed(seed)),
        Records({"final": final}),
        tracked=Tracked(ACCEPTED, NEW, "wave_2-guard"),
    )
    folder = write_bundle(Side("old", state_of(seed)), new, None, branch.root, None)
    shutil.copy(ROOT / "pyproject.toml", branch.root)
    branch.write("src/birdbone/__init__.py", "")
    branch.write(".gitignore", "weights.patch\n")
    branch.git("add", "diffs", ".gitignore")
    branch.stage("dvc.lock", lock(NEW))
    branch.commit("healed")
    outcome = examine(branch.root, "main", fault)
    assert outcome.problems == []
    assert folder.name in outcome.text

    patch = folder / "weights.patch"
    content = bytearray(patch.read_bytes())
    content[-1] ^= 1
    patch.write_bytes(content)
    (problem,) = examine(branch.root, "main", fault).problems
    assert (
        problem.startswith(f"bundle {folder.name}: it does not verify: ")
        and "weights.patch" in problem
    )
