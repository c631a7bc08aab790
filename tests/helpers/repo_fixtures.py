"""Fixtures: an empty repository, one with the project's hooks, and no trace of the repository
around the tests.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from git_repos import OLD, PEOPLE, Repo, lock, new_repo
from places import ROOT


@pytest.fixture
def away_from_other_repositories(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in PEOPLE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repo(tmp_path: Path, away_from_other_repositories: None) -> Repo:
    found = new_repo(tmp_path / "repo")
    found.commit("begin")
    return found


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository that tracks the model ``OLD``, with the hooks that `make hooks` installs."""
    repo = new_repo(tmp_path_factory.mktemp("hooked") / "repo")
    for name in (".pre-commit-config.yaml", ".mdformat.toml", "pyproject.toml"):
        shutil.copy(ROOT / name, repo.root)
    repo.git("add", ".")
    repo.stage("dvc.lock", lock(OLD))
    repo.commit("the first model")
    (repo.root / ".venv").symlink_to(sys.prefix)
    (repo.root / ".git/info").mkdir(exist_ok=True)
    (repo.root / ".git/info/exclude").write_text(".venv\n")
    done = repo.run(
        ".venv/bin/pre-commit", "install", PRE_COMMIT_HOME=str(repo.root / ".git/pre-commit")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return repo


@pytest.fixture
def hooked(installed: Repo) -> Repo:
    """The same, as it was at first."""
    if (installed.root / ".git/MERGE_HEAD").exists():
        installed.git("reset", "-q", "--merge")
    installed.git(
        "checkout",
        "-q",
        "-f",
        "-B",
        "main",
        installed.git("rev-list", "--max-parents=0", "HEAD").strip(),
    )
    installed.git("clean", "-fdq", "-e", ".venv")
    return installed


@pytest.fixture
def dvc_repo(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A git repository with DVC in it."""
    monkeypatch.chdir(repo.root)
    from dvc.repo import Repo as DvcRepo  # takes seconds, and most tests do without

    DvcRepo.init(str(repo.root)).close()
    repo.commit("dvc")
    return repo
