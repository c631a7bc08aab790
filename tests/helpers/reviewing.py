"""What one does with a model under git and DVC: run, bundle, commit, look, take back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from demo_project import Project

from birdbone.datasets.folders import ModelFolder, TensorFolder
from birdbone.diff.states import open_state
from birdbone.gguf.header import read_gguf_header
from birdbone.gguf.writer import write_gguf
from birdbone.model.judging.evaluate import losses
from birdbone.model.network import build

MODEL = "models/default/wave_1/accepted"


def git(project: Project, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments],
        cwd=project.root,
        check=True,
    )


def command(project: Project, *arguments: str, **env: str) -> str:
    done = project.command(*arguments, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def birdbone(project: Project, *arguments: str) -> str:
    return command(project, "birdbone.cli.main", *arguments)


def failed(project: Project, *arguments: str) -> str:
    done = project.command("birdbone.cli.main", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def start_history(project: Project) -> None:
    """A repository of the code alone, and its dvc.yaml."""
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "code")
    birdbone(project, "dvc")


def commit_model(project: Project, message: str) -> None:
    """The bundle of what has changed and everything else, in one commit."""
    birdbone(project, "bundle")
    git(project, "add", "-A")
    git(project, "commit", "-qm", message)


def run_and_commit(project: Project, message: str, *to: str) -> None:
    """Run (as far as some nodes), give DVC what came out, and commit it with its bundle."""
    command(project, "kedro", "run", "--env=base", *(f"--to-nodes={node}" for node in to))
    command(
        project,
        "dvc",
        "commit",
        "-f",
        "-q",
        *("--with-deps" for _ in to),
        *(n.replace(".", "-") for n in to),
    )
    commit_model(project, message)


def digest(folder: Path) -> str:
    return open_state(folder).digest


def neurons(folder: Path) -> dict:
    masks = open_state(folder).masks
    return {n: masks[n] for n in masks if n.startswith("ffn.")}


def reverted(project: Project, *outputs: str) -> str:
    """Take the last commit back, code and model; returns the model's digest."""
    git(project, "revert", "--no-edit", "HEAD")
    command(project, "dvc", "checkout", "-q", "--force", *outputs)
    return digest(project.root / MODEL)


def one_layer_back(project: Project, bundle: str, before: dict, now: dict) -> str:
    """One layer's masks of ``before`` in the model at hand, with masks ``now``: it loads, evaluates
    and exports.

    Returns the new state's digest.
    """
    name = next(
        n
        for n in sorted({*now, *before})
        if n not in now or n not in before or not now[n].equal(before[n])
    )
    said = birdbone(
        project,
        "diff",
        "revert",
        bundle,
        "--layers",
        name.split(".")[1],
        "--masks-only",
        "--to",
        "part",
    )
    assert "not judged until it is evaluated" in said
    state = ModelFolder(str(project.root / "part")).load()
    for other, mask in neurons(project.root / "part").items():
        expected = (before if other == name else now).get(other)
        assert mask.all() if expected is None else mask.equal(expected)
    texts = TensorFolder(str(project.root / "data/02_intermediate/texts")).load()[0]
    assert losses(build(state), texts["guard.code"][:2]).isfinite().all()
    write_gguf(project.root / "part.gguf", state, project.root / "models/default/tokenizer")
    sizes = [
        state.weights[f"model.layers.{i}.mlp.down_proj.weight"].shape[1]
        for i in range(state.layers)
    ]
    assert (
        read_gguf_header(project.root / "part.gguf").metadata["deci.feed_forward_length"] == sizes
    )
    return state.digest


def repro(project) -> list[str]:
    """The stages that `dvc repro` ran."""
    done = project.command("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return [
        line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")
    ]
