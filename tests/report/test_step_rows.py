"""What each step did, from the stages' reports to rows, chart and table."""

import pytest

from birdbone.report.step_rows import HEALED_SEED, step_rows
from birdbone.report.waterfall import step_cells, waterfall

SEED_METRICS = {"parameters": 1000, "macs_per_token": 900, "trace": []}
FILES = [
    {"name": "seed f16", "role": "seed", "bytes": 2_100, "macs_per_token": 950},
    {"name": "birdbone", "role": "ours", "bytes": 700},
]
ROUNDING = {
    "step": "rounding",
    "macs_per_token": 800,
    "kl": [0.03, 0.02, 0.04],
    "control": {"what": "plain", "kl": [0.05, 0.04, 0.06]},
}
NO_CONTROL = {"measured": False}


def thin(text: str) -> str:
    """With the narrow space that stands before a unit."""
    return text.replace(" ", "\u202f")


def wave(number: int, status: str, *steps: tuple[str, int, float]) -> dict:
    rows = [
        {"step": name, "parameters": left, "macs_per_token": left, "kl": [kl, kl, kl]}
        for name, left, kl in steps
    ]
    return {"wave": number, "verdict": {"status": status}, "trace": rows}


WAVES = [
    wave(1, "accepted", ("pruning", 950, 0.02), ("healing", 950, 0.01)),
    wave(2, "reverted", ("pruning", 900, 0.09)),
]


def test_sizes_are_f16_until_rounding_and_a_rejected_wave_says_so():
    rows = step_rows(FILES, SEED_METRICS, WAVES, ROUNDING, NO_CONTROL)
    assert [(r["step"], r["bytes"]) for r in rows] == [
        ("seed", 2_100),
        ("wave 1: pruning", 2_000),
        ("wave 1: healing", 2_000),
        ("wave 2: pruning", 1_900),
        ("rounding", 700),
    ]
    assert [r.get("verdict") for r in rows] == [None, None, None, "reverted", None]
    assert rows[-1]["control_kl"] == [0.05, 0.04, 0.06]


def test_the_healed_seed_stands_beside_healing():
    control = {
        "measured": True,
        "domains": {"a": {"kl": 0.1, "tokens": 10}, "b": {"kl": 0.4, "tokens": 20}},
    }
    rows = step_rows(FILES, SEED_METRICS, WAVES, ROUNDING, control)
    assert rows[2]["control"] == HEALED_SEED
    assert rows[2]["control_kl"] == pytest.approx(0.3)


def test_a_smaller_vocabulary_is_a_step_of_its_own():
    trimmed = {"name": "trimmed f16", "role": "trimmed", "bytes": 2_050}
    step = {"step": "vocabulary", "kl": [0.1, 0.1, 0.1], "control": {"what": "others", "kl": 0.2}}
    metrics = {**SEED_METRICS, "trace": [step]}
    rows = step_rows([trimmed, *FILES], metrics, WAVES, ROUNDING, NO_CONTROL)
    assert rows[1] == {
        "step": "vocabulary",
        "bytes": 2_050,
        "macs_per_token": 900,
        "kl": [0.1, 0.1, 0.1],
        "control": "others",
        "control_kl": 0.2,
    }
    assert rows[2]["bytes"] == 1_950


def test_the_chart_leaves_out_what_the_export_has_not():
    rows = step_rows(FILES, SEED_METRICS, WAVES, ROUNDING, NO_CONTROL)
    bars, after, control = waterfall(rows).data
    assert bars.x == ("seed", "wave 1: pruning", "wave 1: healing", "rounding", "export")
    assert bars.y == pytest.approx((0.0021, -0.0001, 0, -0.0013, 0))
    assert bars.text == tuple(map(thin, ("2.1 kB", "−100 B", "0", "−1.3 kB", "700 B")))
    assert after.y == (0.02, 0.01, 0.03) and control.x == ("rounding",)


def test_a_row_as_text():
    rows = step_rows(FILES, SEED_METRICS, WAVES, ROUNDING, NO_CONTROL)
    name, *cells = step_cells(rows[3])
    assert name == "wave 2: pruning (reverted)"
    assert cells == [thin("1.9 kB"), "900", "0.0900", "–", ""]
    assert step_cells(rows[4])[4:] == ["0.0500", "plain"]
