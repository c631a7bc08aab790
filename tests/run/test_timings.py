"""What a node took is kept with the load of other processes, which its worth depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from birdbone.run.load import STAT, Load, machine_ticks, others_share
from birdbone.run.timings import Timing, add_timing, read_timings


def test_timings_come_back_and_the_last_one_counts(tmp_path: Path) -> None:
    assert read_timings(tmp_path) == {}
    add_timing(tmp_path, "seed.load", 3.456, 0.25, resumed=False)
    add_timing(tmp_path, "wave_1.heal", 9.0, None, resumed=True)
    add_timing(tmp_path, "seed.load", 4.0, 0.5, resumed=False)
    timings = read_timings(tmp_path)
    assert (timings["seed.load"].seconds, timings["seed.load"].others) == (4.0, 0.5)
    assert timings["wave_1.heal"].resumed and timings["wave_1.heal"].others is None


def test_a_timing_without_the_load_beside_it_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "timings.json").write_text('{"seed.load": 10.15}')
    assert read_timings(tmp_path) == {}
    add_timing(tmp_path, "seed.text", 4.0, 0.5, resumed=False)
    assert list(read_timings(tmp_path)) == ["seed.text"]


def test_alone_a_node_takes_the_share_of_its_time_that_others_left_it() -> None:
    assert Timing(100.0, 0.4, "2026-11-28").alone == pytest.approx(60)
    assert Timing(100.0, None, "2026-11-28").alone == 100


@pytest.mark.parametrize(
    "busy,total,own,share",
    [
        (100, 200, 100, 0.0),
        (200, 200, 50, 0.75),
        (100, 200, 101, 0.0),
        (300, 200, 0, 1.0),
        (0, 0, 0, None),
    ],
)
def test_others_took_what_was_busy_and_not_ones_own(
    busy: float, total: float, own: float, share: float | None
) -> None:
    assert others_share(busy, total, own) == share


def test_idle_and_waiting_processors_are_not_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 2 3 100 20 1 1 4 9 9\ncpu0 5 1 1 50 10 0 0 2 0 0\n")
    monkeypatch.setattr("birdbone.run.load.STAT", stat)
    assert machine_ticks() == (21, 141)
    monkeypatch.setattr("birdbone.run.load.STAT", tmp_path / "none")
    assert machine_ticks() is None
    assert Load().others() is None


@pytest.mark.skipif(not STAT.is_file(), reason="only Linux says how busy its processors are")
def test_the_load_of_others_is_a_share() -> None:
    load = Load()
    sum(range(3_000_000))
    share = load.others()
    assert share is None or 0 <= share <= 1
