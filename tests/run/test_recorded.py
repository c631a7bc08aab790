"""DVC records what was run as conf/base says, and nothing else."""

import shutil
import subprocess

import pytest

from birdbone.run.recorded import unrecordable

RECORD = (
    "from birdbone.run.config import project_root; from birdbone.run.recorded import *; "
    "record(project_root())"
)
LOCK = RECORD.replace("record(project_root())", "print(*unlike_lock(project_root()))")


def refused(project) -> str:
    done = project.command("birdbone.cli.main", "record")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def run(project, *arguments, **env):
    done = project.kedro("run", *arguments, **env)
    assert done.returncode == 0, done.stderr


def test_a_run_with_other_parameters_is_refused_by_name_and_its_lock_is_seen(tracked):
    run(tracked, "--params=heal.steps=2")
    said = refused(tracked)
    assert "heal.steps: used 2, conf/base says 4 (wave_1.heal, wave_2.heal)" in said
    assert "conf/NAME" in said and "kedro run --env=base" in said
    assert tracked.command("dvc", "commit", "-f", "-q").returncode == 0
    subprocess.run(["git", "add", "dvc.lock"], cwd=tracked.root, check=True)
    hook = tracked.command("birdbone.cli.main", "hook", "weights")
    assert (
        hook.returncode == 1
        and "wave_1-heal: heal.steps: run with 2, dvc.lock says 4" in hook.stderr
    )
    run(tracked)
    tracked.python(RECORD)
    assert tracked.python(LOCK).strip() == ""


def test_conf_local_and_a_profile_that_writes_to_the_same_place_are_refused_too(tracked):
    (tracked.root / "conf/local").mkdir(exist_ok=True)
    (tracked.root / "conf/local/parameters.yml").write_text("report: {title: mine}\n")
    run(tracked)
    assert 'report.title: used "mine", conf/base says "final" (final.report)' in refused(tracked)


def test_half_a_run_is_refused(tracked):
    tracked.edit("conf/base/parameters_prune.yml", "0.1", "0.2")
    assert tracked.kedro("run", "--env=base", KILL_AT="saved wave_1/pruned.txt").returncode == -9
    assert "its results are not what its last run made" in refused(tracked)
    run(tracked, "--env=base", "--nodes=wave_1.prune")
    assert "made from another wave_1.pruned than there is (wave_1.heal)" in refused(tracked)


def test_what_dvc_checked_out_and_what_no_ledger_knows_is_not_objected_to(tracked):
    shutil.rmtree(tracked.root / ".birdbone")
    tracked.python(RECORD)
    run(tracked, "--params=heal.steps=2")
    assert tracked.command("dvc", "checkout", "-q", "--force").returncode == 0
    subprocess.run(["git", "checkout", "-q", "."], cwd=tracked.root, check=True)
    tracked.python(RECORD)
    assert tracked.python(LOCK).strip() == ""


@pytest.fixture
def bare(tmp_path):
    """A project's configuration with DVC's folder and no git, as from an archive."""
    (tmp_path / "conf/base").mkdir(parents=True)
    (tmp_path / "conf/base/globals.yml").write_text("data: data\nmodels: models/default\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("")
    return tmp_path


def test_without_git_or_dvc_it_is_said_why_nothing_is_recorded(bare):
    assert "is no git repository" in unrecordable(bare)
    subprocess.run(["git", "init", "-q"], cwd=bare, check=True)
    assert unrecordable(bare) is None
    shutil.rmtree(bare / ".dvc")
    assert "dvc init" in unrecordable(bare)


@pytest.mark.parametrize("name", ["data", "models"])
def test_a_link_to_another_place_is_said(bare, tmp_path_factory, name):
    subprocess.run(["git", "init", "-q"], cwd=bare, check=True)
    away = tmp_path_factory.mktemp("disk")
    (bare / name).symlink_to(away)
    assert str(away) in unrecordable(bare) and "link" in unrecordable(bare)
