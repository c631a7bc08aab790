"""What regrowth brings back stays only where check text likes the model better with it."""

import pytest
from families import all_but, cut, shape_of, small, tokens

from birdbone.model.healing.heal import Healed, loss_on
from birdbone.model.network import build
from birdbone.pipelines.inputs import Lesson, Workplace
from birdbone.pipelines.waves import regrow as stage
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.pipelines.waves.settings.regrow import RegrowSettings
from birdbone.text.texts import Texts

SETTINGS = RegrowSettings.model_construct(share=0.5, epsilon=0.0, tokens=48, heal_steps=2)
HEALING = HealSettings(
    method="lora",
    steps=9,
    batch=2,
    rank=4,
    learning_rate=1e-3,
    ce_weight=0.0,
    state_weight=0.0,
    base="float32",
    merge_onto="weights",
    compute="float32",
    checkpoint_every=1,
)
HEAL = tokens(rows=6, length=24)
CHECK = tokens(rows=4, length=24, seed=3)
TEXTS = Texts(HEAL, HEAL, CHECK, {}, {}, [], "a source", 24)
BEFORE = {"wave": 0, "status": "accepted", "stopped": False, "check_loss": 1e-6}


def regrown(scratch):
    seed = small()
    width, _ = shape_of(seed)[0]
    narrow = cut(seed, {0: all_but(width, *range(64)), 1: all_but(width, *range(64))}, {})
    state, report = stage.regrow_wave(
        narrow,
        BEFORE,
        Lesson(seed, TEXTS),
        SETTINGS,
        stage.Growth(HEALING, 32),
        Workplace("cpu", 0, scratch),
    )
    return seed, narrow, state, report


def test_neurons_return_where_check_text_likes_the_model_better_with_them(tmp_path):
    seed, narrow, state, report = regrown(tmp_path)
    assert sum(report["returned"].values()) == 64
    assert sum(state.count("ffn", i) - narrow.count("ffn", i) for i in range(2)) == 64
    before, after = (loss_on(CHECK, s, seed, 0.0, "cpu")(build(s)) for s in (narrow, state))
    assert report["checks"] == pytest.approx([before, after], rel=1e-4) and after < before


def test_what_would_not_lower_the_loss_on_check_text_does_not_return(monkeypatch, tmp_path):
    monkeypatch.setattr(
        stage, "heal", lambda student, *_, **__: Healed(student.start, [], [(0, 1e9)])
    )
    _, narrow, state, report = regrown(tmp_path)
    assert state is narrow and report["returned"] == {}
    assert report["why"] == "what returned would not lower the loss on check text"
