"""Real commits in a repository with the project's own hooks installed, offline."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import yaml
from git_repos import NEW, OLD, Repo, add_bundle, hooked_git, lock
from places import ROOT
from small_notebooks import notebook

from birdbone.git.notebooks import is_clean

BUNDLE = "abcdef012345"


def commit(repo: Repo, *arguments: str) -> subprocess.CompletedProcess[str]:
    return hooked_git(repo, "commit", *arguments)


def message(repo: Repo) -> str:
    return repo.git("log", "-1", "--format=%B").strip()


def test_a_changed_model_is_stopped_until_its_bundle_is_staged_and_the_message_names_it_once(
    hooked: Repo,
) -> None:
    before = hooked.git("rev-parse", "HEAD")
    hooked.write("dvc.lock", lock(NEW))
    stopped = commit(hooked, "-a", "-m", "longer heal")
    assert stopped.returncode == 1
    assert "Make and stage one: birdbone bundle" in stopped.stderr
    assert hooked.git("rev-parse", "HEAD") == before

    add_bundle(hooked, BUNDLE)
    done = commit(hooked, "-a", "-m", "longer heal")
    assert done.returncode == 0, done.stderr
    assert message(hooked) == f"longer heal\n\nBundle-Id: {BUNDLE}"

    amended = commit(hooked, "--amend", "--no-edit")
    assert amended.returncode == 0, amended.stderr
    assert message(hooked) == f"longer heal\n\nBundle-Id: {BUNDLE}"


def test_a_commit_that_leaves_the_model_passes_and_gets_no_trailer(hooked: Repo) -> None:
    hooked.write("dvc.lock", lock(OLD, **{"data/08_reporting/report.html": "d" * 32}))
    done = commit(hooked, "-a", "-m", "another report")
    assert done.returncode == 0, done.stderr
    assert message(hooked) == "another report"


def test_pickles_large_files_and_outputs_are_stopped_together_each_named(hooked: Repo) -> None:
    hooked.stage("notes.dat", pickle.dumps([1]))
    hooked.stage("big.csv", b"1\n" * 600_000)
    hooked.stage("look.ipynb", notebook("x = 1\n", ran=True))
    stopped = commit(hooked, "-m", "all sorts")
    assert stopped.returncode == 1
    for said in (
        "notes.dat: it is a pickle",
        "big.csv: 1.2 MB",
        "look.ipynb: it had outputs and is clean now",
    ):
        assert said in stopped.stderr
    assert is_clean((hooked.root / "look.ipynb").read_text())

    hooked.git("rm", "-q", "--cached", "notes.dat", "big.csv")
    hooked.git("add", "look.ipynb")
    done = commit(hooked, "-m", "clean")
    assert done.returncode == 0, done.stderr
    assert set(hooked.git("show", "--name-only", "--format=", "HEAD").split()) == {"look.ipynb"}


def test_badly_written_python_and_markdown_are_stopped(hooked: Repo) -> None:
    hooked.stage("a.py", "import os\n")
    hooked.stage("README.md", "Title\n=====\n")
    stopped = commit(hooked, "-m", "a module")
    assert stopped.returncode == 1
    assert "F401" in stopped.stderr
    assert re.search(r"^mdformat\.+Failed$", stopped.stderr, re.MULTILINE)


def test_every_hook_is_local_and_every_tool_is_installed(hooked: Repo) -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [r["repo"] for r in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert (Path(sys.prefix) / hook["entry"].split()[0].removeprefix(".venv/")).is_file()
    found = hooked.run(".venv/bin/pre-commit", "validate-config", ".pre-commit-config.yaml")
    assert found.returncode == 0, found.stdout
