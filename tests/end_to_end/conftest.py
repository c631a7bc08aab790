"""Fixtures: the real project in folders of its own, empty or after a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspace import LIGHT, QUICK, Workspace, copied, lay_out


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The project before any run, with the profile ``quick``; this process is in its folder."""
    found = lay_out(tmp_path / "project")
    found.profile("quick", LIGHT, QUICK)
    monkeypatch.chdir(found.root)
    return found


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project after one whole run of ``quick`` that nothing interrupted. Not to be changed: see
    ``finished``.
    """
    found = lay_out(tmp_path_factory.mktemp("undisturbed") / "project")
    found.profile("quick", LIGHT, QUICK)
    run = found.run("kedro", "run", "--env=quick")
    assert run.code == 0, run.stderr
    (found.root / "printed.txt").write_text(run.stdout)
    return found


@pytest.fixture
def finished(undisturbed: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the project after a whole run, to change at will."""
    return copied(undisturbed, tmp_path / "project")
