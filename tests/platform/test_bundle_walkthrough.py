"""A model change reviewed and taken back, in git's and DVC's own life."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo_project import Project
from real_project import lay_out_real, make_tiny_the_base
from test_dvc_walkthrough import LIGHT, command, git

from birdbone.datasets.folders import ModelFolder
from birdbone.diff.states import open_state
from birdbone.model.network import build

MODEL = "models/default/wave_1/accepted"
PRUNE_ONLY = {
    "model": "smollm2",
    "waves": 1,
    "max_loss": 0.5,
    "target_sparsity": 0.01,
    "text": {
        "window": 128,
        "written_share": 0.0,
        "calibration_tokens": 1024,
        "heal_tokens": 512,
        "guard_tokens": 256,
        "test_tokens": 256,
    },
    "activation_log": {"profile_tokens": 128},
    "sps_scan": {"record_tokens": 128},
    "topology": {"min_cluster": 20, "landmarks": 300, "stability_resamples": 0},
    "prune_wave": {"step": 0.02},
    "micro_heal": {"steps": 0},
    "regrow": {"share": 0.0},
    "guard": {"control": False, "wave_share": 1.0},
}


def birdbone(project: Project, *arguments: str) -> str:
    return command(project, "birdbone.console", *arguments)


def failed(project: Project, *arguments: str) -> str:
    done = project.command("birdbone.console", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def committed(project: Project, message: str, *to: str) -> str:
    """Run, give DVC what came out, bundle it and commit; returns the model's digest."""
    command(project, "kedro", "run", "--env=base", *(f"--to-nodes={node}" for node in to))
    command(project, "dvc", "commit", "-f", "-q", *("--with-deps" for _ in to), *(n.replace(".", "-") for n in to))
    birdbone(project, "bundle")
    git(project, "add", "-A")
    git(project, "commit", "-qm", message)
    return digest(project.root / MODEL)


def digest(folder: Path) -> str:
    return open_state(folder).digest


def neurons(folder: Path) -> dict:
    masks = open_state(folder).masks
    return {n: masks[n] for n in masks if n.startswith("ffn.")}


def review(project: Project, sparsity: tuple[str, str], *to: str) -> None:
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "code")
    birdbone(project, "dvc")
    first = committed(project, "first run", *to)
    project.edit("conf/base/parameters.yml", f"target_sparsity: {sparsity[0]}", f"target_sparsity: {sparsity[1]}")
    second = committed(project, "another sparsity", *to)
    assert first != second

    text = birdbone(project, "diff", "HEAD~1", "HEAD")
    assert "FFN neurons" in text and f"target_sparsity: {sparsity[0]} → {sparsity[1]}" in text
    bundles = json.loads(birdbone(project, "diff", "list", "--json"))
    assert {(b["new"], bool(b["commit"])) for b in bundles} == {(first, True), (second, True)}
    (bundle,) = (b["id"] for b in bundles if b["new"] == second)
    assert birdbone(project, "diff", "show", "HEAD") == birdbone(project, "diff", "show", bundle)
    assert "sound" in birdbone(project, "diff", "verify", bundle)
    assert MODEL in command(project, "dvc", "diff", "HEAD~1", "HEAD")

    birdbone(project, "diff", "revert", bundle, "--to", "old")
    assert digest(project.root / "old") == first
    birdbone(project, "diff", "apply", bundle, "old", "--to", "new")
    assert digest(project.root / "new") == second
    assert "can only be applied to" in failed(project, "diff", "apply", bundle, ".", "--to", "wrong")
    assert not (project.root / "wrong").exists()

    git(project, "revert", "--no-edit", "HEAD")
    command(project, "dvc", "checkout", "-q", "--force")
    assert digest(project.root / MODEL) == first

    git(project, "revert", "--no-edit", "HEAD")
    command(project, "dvc", "checkout", "-q", "--force")
    assert digest(project.root / MODEL) == second
    now, before = (neurons(project.root / where) for where in (MODEL, "old"))
    name = next(n for n in sorted({*now, *before}) if n not in now or n not in before or not now[n].equal(before[n]))
    layer = name.split(".")[1]
    said = birdbone(project, "diff", "revert", bundle, "--layers", layer, "--masks-only", "--to", "part")
    assert "not judged until it is evaluated" in said
    state = ModelFolder(str(project.root / "part")).load()
    assert state.digest not in (first, second)
    for other, mask in neurons(project.root / "part").items():
        expected = (before if other == name else now).get(other)
        assert mask.all() if expected is None else mask.equal(expected)
    build(state)


@pytest.mark.slow
def test_on_a_tiny_model_with_healing_and_export(tmp_path):
    project = lay_out_real(tmp_path)
    make_tiny_the_base(project, LIGHT)
    review(project, ("0.12", "0.03"))
    page = next((project.root / "diffs").glob("*/report.html")).read_text()
    assert "<script src" not in page and "Healing" in page


@pytest.mark.slow
def test_on_the_default_model_pruned_alone(tmp_path):
    project = lay_out_real(tmp_path)
    make_tiny_the_base(project, PRUNE_ONLY)
    review(project, ("0.01", "0.005"), "wave_1.guard")
