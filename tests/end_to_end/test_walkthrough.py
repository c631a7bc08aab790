"""Two generations of a model under git and DVC, compared and taken back; the tiny model stands in
for the default.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from demo_project import CHECK, Project
from places import ROOT
from real_project import lay_out_real, make_tiny_the_base
from reviewing import (
    MODEL,
    birdbone,
    command,
    commit_model,
    digest,
    failed,
    git,
    neurons,
    one_layer_back,
    repro,
    reverted,
    run_and_commit,
    start_history,
)

AFTER_A_PRUNE = {
    "wave_1-prune",
    "wave_1-heal",
    "wave_1-regrow",
    "wave_1-guard",
    "wave_1-trace",
    "wave_1-report",
    "quantize-round",
    "quantize-trace",
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


def digests(project: Project) -> dict:
    """Every model and export on disk, by the digests in its manifest."""
    found = sorted((project.root / "models").rglob("manifest.json"))
    return {
        p.parent.relative_to(project.root).as_posix(): json.loads(p.read_text())["files"]
        for p in found
    }


class Generation(NamedTuple):
    """A committed run: its accepted model's digest and neuron masks, and every artifact's
    digests.
    """

    model: str
    masks: dict
    artifacts: dict


class History(NamedTuple):
    """first: by ``kedro run``; second: by ``dvc repro`` after an edit, which ran ``stages`` and
    then nothing.
    """

    project: Project
    first: Generation
    second: Generation
    stages: set[str]


def generation(project: Project) -> Generation:
    return Generation(digest(project.root / MODEL), neurons(project.root / MODEL), digests(project))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    project = lay_out_real(tmp_path_factory.mktemp("history") / "project")
    make_tiny_the_base(project, LIGHT)
    start_history(project)
    run_and_commit(project, "first run")
    assert repro(project) == []
    first = generation(project)
    project.edit("conf/base/parameters.yml", "target_sparsity: 0.12", "target_sparsity: 0.03")
    stages = set(repro(project))
    assert repro(project) == []
    commit_model(project, "another sparsity")
    return History(project, first, generation(project), stages)


@pytest.fixture(scope="module")
def bundle(history: History) -> str:
    bundles = json.loads(birdbone(history.project, "diff", "list", "--json"))
    assert {(b["new"], bool(b["commit"])) for b in bundles} == {
        (history.first.model, True),
        (history.second.model, True),
    }
    return next(b["id"] for b in bundles if b["new"] == history.second.model)


def test_dvc_yaml_is_what_registry_and_catalog_say():
    assert Project(ROOT).python(CHECK).strip() == "True", "run `birdbone dvc` and commit it"


@pytest.mark.slow
def test_an_edit_reruns_what_reads_it_and_what_follows(history: History):
    assert history.stages == AFTER_A_PRUNE
    first, second = history.first.artifacts, history.second.artifacts
    changed = {name for name in first if first[name] != second[name]}
    assert {"models/default/wave_1/pruned", "models/default/export/gguf"} <= changed
    assert not {"models/default/seed", "models/default/tokenizer"} & changed


@pytest.mark.slow
def test_dvc_shows_what_changed(history: History):
    project, between = history.project, ("HEAD~1", "HEAD")
    parameters = command(project, "dvc", "params", "diff", *between)
    assert ["target_sparsity", "0.12", "0.03"] in [
        line.split()[1:] for line in parameters.splitlines()
    ]
    files = command(project, "dvc", "diff", *between)
    assert "models/default/wave_1/healed/model.safetensors" in files
    assert "models/default/seed" not in files
    rows = command(project, "dvc", "metrics", "diff", *between).splitlines()
    assert any("worst_change" in row for row in rows)
    assert len(rows) < 30
    command(project, "dvc", "plots", "show")
    page = (project.root / "dvc_plots/index.html").read_text()
    assert "healing_curve" in page


@pytest.mark.slow
def test_the_bundle_tells_what_changed_in_the_models_words(history: History, bundle: str):
    project = history.project
    text = birdbone(project, "diff", "HEAD~1", "HEAD")
    assert "FFN neurons" in text and "target_sparsity: 0.12 → 0.03" in text
    assert birdbone(project, "diff", "show", "HEAD") == birdbone(project, "diff", "show", bundle)
    page = (project.root / "diffs" / bundle / "report.html").read_text()
    assert "<script" not in page and "Healing" in page


@pytest.mark.slow
def test_the_bundle_leads_from_either_model_to_the_other(history: History, bundle: str):
    project = history.project
    assert "sound" in birdbone(project, "diff", "verify", bundle)
    birdbone(project, "diff", "revert", bundle, "--to", "old")
    assert digest(project.root / "old") == history.first.model
    birdbone(project, "diff", "apply", bundle, "old", "--to", "new")
    assert digest(project.root / "new") == history.second.model
    assert "can only be applied to" in failed(
        project, "diff", "apply", bundle, ".", "--to", "wrong"
    )
    assert not (project.root / "wrong").exists()
    part = one_layer_back(project, bundle, history.first.masks, history.second.masks)
    assert part not in (history.first.model, history.second.model)


@pytest.mark.slow
def test_kedro_makes_from_nothing_what_dvc_made(history: History):
    command(history.project, "kedro", "run", "--env=base", BIRDBONE_FRESH="1")
    assert digests(history.project) == history.second.artifacts
    assert set(json.loads(command(history.project, "dvc", "status", "--json"))) <= TIMED


@pytest.mark.slow
def test_git_and_dvc_take_a_generation_back_and_bring_it_again(history: History):
    git(history.project, "checkout", "-q", ".")
    command(history.project, "dvc", "checkout", "-q", "--force")
    assert reverted(history.project) == history.first.model
    assert digests(history.project) == history.first.artifacts
    assert reverted(history.project) == history.second.model
