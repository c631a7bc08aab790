"""A day with DVC on the project itself, the tiny model standing in for the default one."""

import json
import subprocess

import pytest
from demo_project import Project
from real_project import ROOT, lay_out_real, make_tiny_the_base
from test_dvc_stages import CHECK, WRITE

AFTER_A_HEAL = {
    "control-heal_seed",
    "wave_1-heal",
    "wave_1-regrow",
    "wave_1-guard",
    "quantize-round",
    "export-gguf",
    "export-referee",
    "export-folder",
    "report-files",
    "report-final",
    "report-page",
    "version_bump-bundle",
}
TIMED = {"export-referee", "report-files", "report-page"}
"""Stages whose results show speeds, which differ from run to run."""
LIGHT = {
    "waves": 1,
    "guard": {"control": False},
    "topology": {"min_cluster": 64, "stability_resamples": 0},
    "report": {"peers": ["Q4_0"], "prompts": ["The"], "generate_tokens": 4},
}


def git(project, *arguments):
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments], cwd=project.root, check=True)


def command(project, *arguments, **env):
    done = project.command(*arguments, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rerun(project):
    """The stages that `dvc repro` ran."""
    lines = command(project, "dvc", "repro").splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def digests(project):
    """Every model and export on disk, by the digests in its manifest."""
    found = sorted((project.root / "models").rglob("manifest.json"))
    return {p.parent.relative_to(project.root).as_posix(): json.loads(p.read_text())["files"] for p in found}


def test_dvc_yaml_is_what_registry_and_catalog_say():
    assert Project(ROOT).python(CHECK).strip() == "True", "run `birdbone dvc` and commit it"


@pytest.mark.slow
def test_edit_repro_compare(tmp_path):
    project = lay_out_real(tmp_path)
    make_tiny_the_base(project, LIGHT)
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "code")
    project.python(WRITE)
    command(project, "kedro", "run", "--env=base")
    command(project, "dvc", "commit", "-f", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first run")
    assert rerun(project) == set()
    first = digests(project)

    project.edit("conf/base/parameters_micro_heal.yml", "steps: 4", "steps: 5")
    assert rerun(project) == AFTER_A_HEAL
    assert rerun(project) == set()
    second = digests(project)
    changed = {name for name in first if first[name] != second[name]}
    assert {"models/default/wave_1/healed", "models/default/export/gguf"} <= changed
    assert not {"models/default/seed", "models/default/wave_1/pruned"} & changed

    assert "micro_heal.steps  4       5" in command(project, "dvc", "params", "diff")
    files = command(project, "dvc", "diff")
    assert "models/default/wave_1/healed/model.safetensors" in files
    assert "wave_1/pruned" not in files
    rows = command(project, "dvc", "metrics", "diff").splitlines()
    assert any("worst_change" in row for row in rows)
    assert len(rows) < 30
    command(project, "dvc", "plots", "show")
    page = (project.root / "dvc_plots/index.html").read_text()
    assert "healing_curve" in page

    command(project, "kedro", "run", "--env=base", BIRDBONE_FRESH="1")
    assert digests(project) == second
    assert set(json.loads(command(project, "dvc", "status", "--json"))) <= TIMED
