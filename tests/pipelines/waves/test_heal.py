"""What the heal stage hands on to healing itself."""

import pytest
import torch

from birdbone.model.healing.heal import Healed
from birdbone.pipelines.inputs import Lesson, Workplace
from birdbone.pipelines.waves import heal as stage
from birdbone.pipelines.waves.settings.heal import HealSettings
from birdbone.text.texts import Texts

SETTINGS = HealSettings(
    method="lora",
    steps=2,
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
WINDOWS = torch.arange(10)[:, None]
TEXTS = Texts(WINDOWS, WINDOWS, WINDOWS, {}, {}, [], "a source", 1)


@pytest.fixture
def read(monkeypatch, tmp_path):
    """wave -> numbers of the windows that its healing reads, in order."""
    monkeypatch.chdir(tmp_path)
    seen = []

    def noted(student, seed, windows, check, *_):
        seen.append(windows)
        return Healed(student, [], [])

    monkeypatch.setattr(stage, "student_of", lambda checkpoint, *_: checkpoint)
    monkeypatch.setattr(stage, "heal", noted)

    def numbers(wave: int) -> list[int]:
        before = {"wave": wave - 1, "status": "accepted", "stopped": False}
        stage.heal_wave(
            "pruned",
            {"changed": True},
            before,
            Lesson("seed", TEXTS),
            SETTINGS,
            Workplace("cpu", 0, tmp_path),
        )
        return seen[-1][:4, 0].tolist()

    return numbers


def test_each_wave_reads_on_where_the_last_one_stopped(read):
    assert [read(wave) for wave in (1, 2, 3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
