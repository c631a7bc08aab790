"""The rows of a wave: a step that changed the model, and none for one that did not."""

import pytest
import torch
from families import all_but, cut, shape_of, small, tokens

from birdbone.model.judging.reference import States, final_states
from birdbone.model.network import build
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.waves.trace import Choice, Steps, trace_wave
from birdbone.pipelines.yardstick import Yardstick
from birdbone.text.texts import Domain, Texts

WINDOWS = tokens(rows=4, length=24)
GUARD = {"news": Domain(WINDOWS, torch.arange(4))}
TEXTS = Texts(WINDOWS, WINDOWS, WINDOWS, GUARD, {}, ["news"], "a source", 24)
LATER = {"wave": 1}
"""The verdict of the wave before: not of the seed, so that no control is drawn."""


@pytest.fixture(scope="module")
def seed():
    return small()


def traced(seed, tmp_path, changed: bool, **steps) -> dict:
    states = States({"news": final_states(build(seed), WINDOWS, "states")}, {})
    yardstick = Yardstick(seed, states, tmp_path, TEXTS)
    made = Steps(
        {"changed": changed}, **({"pruned": seed, "healed": seed, "regrown": seed} | steps)
    )
    choice = Choice(None, None, None, "uneven", None)
    return trace_wave(made, LATER, yardstick, choice, 96, Compute("cpu", 0))


def test_a_wave_that_changed_nothing_has_no_rows(seed, tmp_path):
    assert traced(seed, tmp_path, False) == {"wave": 2, "steps": []}


def test_every_step_that_changed_the_model_has_a_row(seed, tmp_path):
    width, _ = shape_of(seed)[0]
    narrow = cut(seed, {0: all_but(width, *range(64)), 1: all_but(width, *range(64))}, {})
    wider = cut(seed, {0: all_but(width, *range(32)), 1: all_but(width, *range(32))}, {})
    unhealed = traced(seed, tmp_path, True, pruned=narrow, healed=narrow, regrown=narrow)
    assert [row["step"] for row in unhealed["steps"]] == ["pruning"]
    grown = traced(seed, tmp_path, True, pruned=narrow, healed=narrow, regrown=wider)
    pruning, regrowth = grown["steps"]
    assert (pruning["step"], regrowth["step"]) == ("pruning", "regrowth")
    assert regrowth["parameters"] == wider.parameters > pruning["parameters"]
    assert 0 < regrowth["kl"][0] < pruning["kl"][0]
