"""`kedro config diff` on the project's own configuration: what a run would use, against git."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from git_repos import Repo, new_repo
from places import ROOT

from birdbone.cli.config import project_commands
from birdbone.errors import ConfigError
from birdbone.git.config_diff import config_text, resolved


@pytest.fixture
def project(tmp_path: Path) -> Repo:
    """The project's configuration, committed; its sources are linked."""
    repo = new_repo(tmp_path / "project")
    shutil.copytree(ROOT / "conf", repo.root / "conf", ignore=shutil.ignore_patterns("local"))
    (repo.root / "conf/local").mkdir()
    repo.write("conf/local/.gitkeep", "")
    (repo.root / "src").mkdir()
    (repo.root / "src/birdbone").symlink_to(ROOT / "src/birdbone")
    shutil.copy(ROOT / "pyproject.toml", repo.root)
    repo.git("add", "-f", "conf", "pyproject.toml")
    repo.commit("first")
    return repo


def edit(
    project: Repo, old: str, new: str, name: str = "conf/base/parameters_quantize.yml"
) -> None:
    path = project.root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def diff(project: Repo, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`kedro config diff` with these arguments, in this process."""
    monkeypatch.chdir(project.root)
    return lambda *arguments: CliRunner().invoke(project_commands, ["config", "diff", *arguments])


def test_the_workspace_is_compared_with_any_revision_and_profile(project: Repo) -> None:
    assert config_text(resolved(project.root, "HEAD"), resolved(project.root)) == ""
    edit(project, "trials: 6 ", "trials: 7 ")
    edit(project, "models: models/tiny", "models: elsewhere", "conf/tiny/globals.yml")
    assert (
        config_text(resolved(project.root, "HEAD"), resolved(project.root))
        == "~ quantize.trials: 6 → 7\n"
    )

    tiny = config_text(resolved(project.root, "HEAD", "tiny"), resolved(project.root, None, "tiny"))
    lines = tiny.splitlines()
    assert "~ quantize.trials: 6 → 7" in lines
    assert '~ catalog.seed_model.filepath: "models/tiny/seed" → "elsewhere/seed"' in lines
    assert all(line.startswith(("~ quantize.trials", "~ catalog.")) for line in lines)

    project.git("commit", "-qam", "second")
    assert config_text(resolved(project.root, "HEAD"), resolved(project.root)) == ""
    assert (
        config_text(resolved(project.root, "HEAD~1"), resolved(project.root))
        == "~ quantize.trials: 6 → 7\n"
    )


def test_a_revision_with_parameters_of_another_time_can_still_be_compared(project: Repo) -> None:
    edit(project, "trials: 6 ", "attempts: 6 ")
    project.git("commit", "-qam", "not what the schema says")
    edit(project, "attempts: 6 ", "trials: 6 ")
    text = config_text(resolved(project.root, "HEAD"), resolved(project.root))
    assert text == "- quantize.attempts: 6\n+ quantize.trials: 6\n"


def test_local_settings_count_unless_a_profile_is_named(project: Repo) -> None:
    project.write("conf/local/parameters.yml", "waves: 5\n")
    assert resolved(project.root, None, None)["waves"] == 5
    assert resolved(project.root, None, "base")["waves"] == 2


def test_a_revision_before_the_configuration_has_none_and_an_unknown_one_is_refused(
    repo: Repo,
) -> None:
    assert resolved(repo.root, "HEAD") == {} == resolved(repo.root)
    with pytest.raises(ConfigError, match="no revision 'nowhere'"):
        resolved(repo.root, "nowhere")
    repo.stage("conf/base/parameters.yml", "waves: {2\n")
    repo.commit()
    with pytest.raises(ConfigError, match="configuration of HEAD"):
        resolved(repo.root, "HEAD")


def test_it_is_a_command_of_kedros(project: Repo) -> None:
    edit(project, "trials: 6 ", "trials: 6.5 ")
    found = project.run("kedro", "config", "diff")
    assert (found.returncode, found.stdout) == (0, "~ quantize.trials: 6 (int) → 6.5 (float)\n")


def test_on_the_command_line(project: Repo, diff: Callable[..., Result]) -> None:
    same = diff("--exit-code")
    assert (same.exit_code, same.stdout) == (0, "")

    edit(project, "trials: 6 ", "trials: 6.5 ")
    found = diff("--exit-code", "--json", "--env=tiny")
    assert found.exit_code == 1
    assert [(c["key"], c["old"], c["new"]) for c in json.loads(found.stdout)] == [
        ("quantize.trials", 6, 6.5)
    ]

    wrong = diff("--from=nowhere", "--exit-code")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "no revision 'nowhere'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_rollback_restores_conf_whole_and_never_overwrites_what_no_commit_has(
    project: Repo, diff: Callable[..., Result]
) -> None:
    first = project.git("rev-parse", "HEAD:conf").strip()
    edit(project, "trials: 6 ", "trials: 7 ")
    project.stage("conf/base/parameters_local.yml", "unused: 1\n")
    project.git("commit", "-qam", "second")
    edit(project, "trials: 7 ", "trials: 8 ")

    refused = diff("--rollback=HEAD~1")
    assert refused.exit_code == 2
    assert (
        "not committed: conf/base/parameters_quantize.yml" in refused.stderr
        and "--force" in refused.stderr
    )
    assert "trials: 8 " in (project.root / "conf/base/parameters_quantize.yml").read_text()

    done = diff("--rollback=HEAD~1", "--force")
    assert done.exit_code == 0, done.stderr
    assert "~ quantize.trials: 8 → 6" in done.stdout and "- unused: 1" in done.stdout
    assert "conf/base/parameters_local.yml, conf/base/parameters_quantize.yml" in done.stdout
    project.git("commit", "-qm", "back")
    assert project.git("rev-parse", "HEAD:conf").strip() == first
    assert project.git("status", "--porcelain", "conf") == ""
    assert "nothing done" in diff("--rollback=HEAD").stdout


def test_without_git_it_is_said_in_words(project: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.root / ".git")
    monkeypatch.chdir(project.root)
    found = CliRunner().invoke(project_commands, ["config", "diff"])
    assert (
        found.exit_code == 2 and "no git repository" in found.output and "git init" in found.output
    )
