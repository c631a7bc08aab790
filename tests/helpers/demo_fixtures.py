"""Fixtures: the throw-away project, fresh, and after a run that nothing interrupted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from demo_project import WRITE, Project, copied, lay_out


@pytest.fixture
def demo(tmp_path: Path) -> Project:
    return lay_out(tmp_path)


@pytest.fixture(scope="session")
def undisturbed_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a run that nothing interrupted. Not to be changed: take a copy."""
    project = lay_out(tmp_path_factory.mktemp("undisturbed"))
    run = project.kedro("run", "--env=base")
    assert run.returncode == 0, run.stderr
    project.calls()
    return project


@pytest.fixture
def undisturbed(undisturbed_project: Project) -> dict[str, str]:
    """The results of a run that nothing interrupted."""
    return undisturbed_project.results()


@pytest.fixture
def finished(undisturbed_project: Project, tmp_path: Path) -> Project:
    """The project after an undisturbed run, to change at will."""
    return copied(undisturbed_project, tmp_path)


@pytest.fixture(scope="session")
def committed_project(undisturbed_project, tmp_path_factory):
    """A finished project under git and DVC, its results committed to both."""
    project = copied(undisturbed_project, tmp_path_factory.mktemp("committed"))
    for command in ("git init -q .", "git config user.name x", "git config user.email x@x"):
        subprocess.run(command.split(), cwd=project.root, check=True)
    assert project.command("dvc", "init", "-q").returncode == 0
    project.python(WRITE)
    assert project.command("dvc", "commit", "-f", "-q").returncode == 0
    subprocess.run("git add -A".split(), cwd=project.root, check=True)
    subprocess.run("git commit -qm first".split(), cwd=project.root, check=True)
    return project


@pytest.fixture
def tracked(committed_project, tmp_path):
    return copied(committed_project, tmp_path)
