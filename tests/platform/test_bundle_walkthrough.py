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


def two_runs(project: Project, sparsity: tuple[str, str], *to: str) -> tuple[tuple[str, dict], tuple[str, dict]]:
    """Run, bundle and commit twice; (digest, neurons' masks) of both models."""
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "code")
    birdbone(project, "dvc")
    first = committed(project, "first run", *to), neurons(project.root / MODEL)
    project.edit("conf/base/parameters.yml", f"target_sparsity: {sparsity[0]}", f"target_sparsity: {sparsity[1]}")
    second = committed(project, "another sparsity", *to), neurons(project.root / MODEL)
    assert first[0] != second[0]
    text = birdbone(project, "diff", "HEAD~1", "HEAD")
    assert "FFN neurons" in text and f"target_sparsity: {sparsity[0]} → {sparsity[1]}" in text
    assert MODEL in command(project, "dvc", "diff", "HEAD~1", "HEAD")
    return first, second


def reverted(project: Project, *outputs: str) -> str:
    """Take the last commit back, code and model; returns the model's digest."""
    git(project, "revert", "--no-edit", "HEAD")
    command(project, "dvc", "checkout", "-q", "--force", *outputs)
    return digest(project.root / MODEL)


def one_layer_back(project: Project, bundle: str, first: tuple[str, dict], second: tuple[str, dict]) -> None:
    """One layer's masks of the first model in the second: a new state, which a network can be built of."""
    before, now = first[1], second[1]
    name = next(n for n in sorted({*now, *before}) if n not in now or n not in before or not now[n].equal(before[n]))
    layer = name.split(".")[1]
    said = birdbone(project, "diff", "revert", bundle, "--layers", layer, "--masks-only", "--to", "part")
    assert "not judged until it is evaluated" in said
    state = ModelFolder(str(project.root / "part")).load()
    assert state.digest not in (first[0], second[0])
    for other, mask in neurons(project.root / "part").items():
        expected = (before if other == name else now).get(other)
        assert mask.all() if expected is None else mask.equal(expected)
    build(state)


@pytest.mark.slow
def test_on_a_tiny_model_with_healing_and_export(tmp_path):
    project = lay_out_real(tmp_path)
    make_tiny_the_base(project, LIGHT)
    first, second = two_runs(project, ("0.12", "0.03"))
    bundles = json.loads(birdbone(project, "diff", "list", "--json"))
    assert {(b["new"], bool(b["commit"])) for b in bundles} == {(first[0], True), (second[0], True)}
    (bundle,) = (b["id"] for b in bundles if b["new"] == second[0])
    assert birdbone(project, "diff", "show", "HEAD") == birdbone(project, "diff", "show", bundle)
    assert "sound" in birdbone(project, "diff", "verify", bundle)
    page = (project.root / "diffs" / bundle / "report.html").read_text()
    assert "<script" not in page and "Healing" in page

    birdbone(project, "diff", "revert", bundle, "--to", "old")
    assert digest(project.root / "old") == first[0]
    birdbone(project, "diff", "apply", bundle, "old", "--to", "new")
    assert digest(project.root / "new") == second[0]
    assert "can only be applied to" in failed(project, "diff", "apply", bundle, ".", "--to", "wrong")
    assert not (project.root / "wrong").exists()

    assert reverted(project) == first[0]
    assert reverted(project) == second[0]
    one_layer_back(project, bundle, first, second)


@pytest.mark.slow
def test_on_the_default_model_pruned_alone(tmp_path):
    project = lay_out_real(tmp_path)
    make_tiny_the_base(project, PRUNE_ONLY)
    first, second = two_runs(project, ("0.01", "0.005"), "wave_1.guard")
    bundle = json.loads(birdbone(project, "diff", "show", "HEAD", "--json"))["id"]
    one_layer_back(project, bundle, first, second)
    assert reverted(project, MODEL) == first[0]
