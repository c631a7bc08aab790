"""Fixtures: an empty repository with one commit, and no trace of the repository around the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from repos import PEOPLE, Repo, new_repo


@pytest.fixture(autouse=True)
def away_from_other_repositories(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in PEOPLE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    found = new_repo(tmp_path / "repo")
    found.commit("begin")
    return found
