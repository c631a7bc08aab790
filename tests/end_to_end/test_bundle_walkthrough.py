"""A change of the real default model reviewed and taken back, in git's and DVC's own life."""

from __future__ import annotations

import json

import pytest
from real_project import lay_out_real, make_tiny_the_base
from reviewing import (
    MODEL,
    birdbone,
    command,
    digest,
    neurons,
    one_layer_back,
    reverted,
    run_and_commit,
    start_history,
)

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


@pytest.mark.slow
def test_the_default_model_pruned_compared_and_taken_back(tmp_path):
    project = lay_out_real(tmp_path)
    make_tiny_the_base(project, PRUNE_ONLY)
    start_history(project)
    run_and_commit(project, "first run", "wave_1.guard")
    first, masks = digest(project.root / MODEL), neurons(project.root / MODEL)
    project.edit("conf/base/parameters.yml", "target_sparsity: 0.01", "target_sparsity: 0.005")
    run_and_commit(project, "another sparsity", "wave_1.guard")
    second = digest(project.root / MODEL)
    assert first != second

    text = birdbone(project, "diff", "HEAD~1", "HEAD")
    assert "FFN neurons" in text and "target_sparsity: 0.01 → 0.005" in text
    assert MODEL in command(project, "dvc", "diff", "HEAD~1", "HEAD")
    bundle = json.loads(birdbone(project, "diff", "show", "HEAD", "--json"))["id"]
    part = one_layer_back(project, bundle, masks, neurons(project.root / MODEL))
    assert part not in (first, second)
    assert reverted(project, MODEL) == first
