"""The cost model has a row for every node, and a row grows with what its node's work grows with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kedro.framework import project

from birdbone.pipeline_registry import node_works
from birdbone.run.config import make_loader, project_root
from birdbone.run.cost import Speed, duration
from birdbone.sources.locate import locate
from birdbone.sources.shape import ModelShape, model_shape

SPEED = Speed(device=1e11, host=1e11)


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return make_loader(project_root(), "tiny").checked.values()


@pytest.fixture(scope="module")
def shape(tree: dict[str, Any]) -> ModelShape:
    return model_shape(locate("tiny", tree["models"]))


def seconds(shape: ModelShape, **changes: Any) -> dict[str, float]:
    """Node -> seconds under the tiny profile's parameters, changed."""
    parameters = make_loader(project_root(), "tiny", changes).checked
    return {
        node: duration(work, shape.flops, SPEED)
        for node, work in node_works(parameters, shape).items()
    }


def test_every_node_of_every_pipeline_has_a_row(shape: ModelShape) -> None:
    rows = seconds(shape, waves=3)
    nodes = {node.name for pipeline in project.pipelines.values() for node in pipeline.nodes}
    assert nodes == set(rows)
    assert all(value > 0 for value in rows.values())


@pytest.mark.parametrize(
    "changes,grown",
    [
        (
            {"text": {"calibration_tokens": 2048}},
            {"seed.write", "sps_scan.scan", "activation_log.observe"},
        ),
        ({"text": {"guard_tokens": 2048}}, {"seed.baseline", "wave_1.guard", "quantize.round"}),
        ({"micro_heal": {"steps": 40}}, {"wave_1.heal", "wave_2.heal", "control.heal_seed"}),
        ({"quantize": {"trials": 9}}, {"quantize.round"}),
        ({"report": {"peers": ["Q8_0", "Q4_0", "Q5_0"]}}, {"report.files"}),
        ({"topology": {"landmarks": 4000}}, {"topology.cluster", "experts.find"}),
    ],
)
def test_a_row_grows_with_its_settings_and_others_stay(
    shape: ModelShape, changes: dict[str, Any], grown: set[str]
) -> None:
    before, after = seconds(shape), seconds(shape, **changes)
    assert all(after[node] > before[node] for node in grown)
    assert after["seed.load"] == before["seed.load"]
    if "text" not in changes:
        assert {node for node in before if after[node] != before[node]} == grown


def test_a_larger_model_takes_longer(shape: ModelShape) -> None:
    before = seconds(shape)
    after = seconds(
        replace(
            shape, block=10 * shape.block, outer=10 * shape.outer, parameters=10 * shape.parameters
        )
    )
    assert all(after[node] >= before[node] for node in before)
    assert after["seed.load"] > before["seed.load"] and after["wave_2.heal"] > before["wave_2.heal"]
