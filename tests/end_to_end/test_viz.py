"""The DAG in Kedro-Viz: stages as boxes, layers from seed to report, previews of what a run
made.
"""

import json

import pytest
from real_project import lay_out_real

LAYERS = ["seed", "look", "waves", "export", "report"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The static site of the tiny profile, built after its first wave was run."""
    project = lay_out_real(tmp_path_factory.mktemp("viz"))
    for command in (
        ["run", "--env=tiny", "--to-nodes=wave_1.guard"],
        ["viz", "build", "--include-previews"],
    ):
        done = project.kedro(*command, KEDRO_ENV="tiny")
        assert done.returncode == 0, done.stderr
    return project.root / "build"


@pytest.fixture(scope="module")
def dag(built):
    return json.loads((built / "api/main").read_text())


def preview_of(built, dag, name):
    node = next(n for n in dag["nodes"] if n["name"] == name)
    return json.loads((built / "api/nodes" / node["id"]).read_text())


def test_the_site_opens_with_the_whole_job(built, dag):
    assert (built / "index.html").is_file()
    assert dag["selected_pipeline"] == "__default__"


def test_the_layers_are_in_order_and_all_waves_share_one(dag):
    assert dag["layers"] == LAYERS
    layers = {n["name"]: n["layer"] for n in dag["nodes"] if n["type"] == "data"}
    assert {layers[f"wave_{i}.{n}"] for i in (1, 2) for n in ("pruned", "accepted", "verdict")} == {
        "waves"
    }
    assert set(layers.values()) == set(LAYERS)


def test_stages_and_waves_are_boxes_that_hold_short_names(dag):
    boxes = {n["name"] for n in dag["nodes"] if n["type"] == "modularPipeline"}
    assert boxes >= {
        "seed",
        "activation_log",
        "sps_scan",
        "topology",
        "wave_1",
        "wave_2",
        "quantize",
        "export",
        "report",
    }
    inside = {n["id"] for n in dag["modular_pipelines"]["wave_1"]["children"]}
    steps = {n["name"] for n in dag["nodes"] if n["id"] in inside and n["type"] == "task"}
    assert steps == {"prune", "heal", "regrow", "guard", "trace", "report"}


@pytest.mark.parametrize(
    ("name", "trace"),
    [
        ("wave_1.pruned", "heatmap"),
        ("wave_1.accepted", "heatmap"),
        ("wave_1.healing_curve", "scatter"),
    ],
)
def test_masks_and_healing_are_drawn_when_clicked(built, dag, name, trace):
    shown = preview_of(built, dag, name)
    assert shown["preview_type"] == "PlotlyPreview"
    assert shown["preview"]["data"][0]["type"] == trace


def test_a_verdict_shows_the_waves_so_far(built, dag):
    shown = preview_of(built, dag, "wave_1.verdict")
    assert shown["preview_type"] == "PlotlyPreview"
    assert any(
        1 in trace["x"] for trace in shown["preview"]["data"] if isinstance(trace.get("x"), list)
    )


def test_what_was_not_run_has_no_preview(built, dag):
    assert not preview_of(built, dag, "wave_2.verdict").get("preview")
