"""The plan's minutes: by a node's own earlier timing where it says something, else by the probe."""

from __future__ import annotations

import pytest

from birdbone.cli.earlier import Earlier
from birdbone.cli.estimate import Estimate, basis, estimate, load_line
from birdbone.cli.probe import Probe
from birdbone.run.cost import Speed, Work, duration
from birdbone.run.timings import Timing

SPEED = Speed(device=1000.0, host=500.0)
WORK = Work(tokens=100, host_tokens=10, seconds=2)
"""At 10 operations a token: 1 + 0.2 + 2 seconds."""


def timed(seconds: float, work: Work, flops: float = 10, others: float | None = 0.0) -> Earlier:
    return Earlier(Timing(seconds, others, "2026-11-28"), work, flops)


def test_work_takes_its_tokens_at_the_speed_of_where_they_run() -> None:
    assert duration(WORK, 10, SPEED) == pytest.approx(1 + 0.2 + 2)


def test_without_a_timing_the_probe_counts() -> None:
    assert estimate(WORK, 10, SPEED, []) == Estimate(pytest.approx(3.2))


def test_of_the_same_work_the_timing_is_the_estimate_less_what_others_took() -> None:
    assert estimate(WORK, 10, SPEED, [timed(8, WORK)]) == Estimate(8, "2026-11-28")
    assert estimate(WORK, 10, SPEED, [timed(8, WORK, others=0.25)]) == Estimate(6, "2026-11-28")


def test_of_other_work_the_timing_is_scaled_by_the_cost_model() -> None:
    twice = Work(tokens=200, host_tokens=20, seconds=4)
    assert estimate(twice, 10, SPEED, [timed(8, WORK)]) == Estimate(
        pytest.approx(16), "2026-11-28", scaled=True
    )
    larger = estimate(
        Work(tokens=100, seconds=0), 20, SPEED, [timed(8, Work(tokens=100, seconds=0), flops=10)]
    )
    assert larger.seconds == pytest.approx(16)


def test_the_timing_of_the_nearest_work_counts_and_a_far_one_never() -> None:
    small = Work(tokens=1, seconds=0)
    near = Work(tokens=50, seconds=0)
    work = Work(tokens=100, seconds=0)
    assert estimate(work, 10, SPEED, [timed(1, small), timed(3, near)]).seconds == pytest.approx(6)
    assert estimate(work, 10, SPEED, [timed(1, small)]).timing is None


@pytest.mark.parametrize(
    "estimates,sentence",
    [
        ([Estimate(1)], "by a probe of this machine"),
        ([Estimate(1, "2026-11-28")], "by the timings of the run of 2026-11-28 for 1 of 1 nodes"),
        (
            [Estimate(1, "2026-11-28", True), Estimate(1, "2026-11-27"), Estimate(1)],
            "by the timings of the run of 2026-11-27 to 2026-11-28, scaled to this work, for 2 of "
            "3 nodes and by a probe of this machine for the others",
        ),
    ],
)
def test_the_plan_says_what_it_rests_on(estimates: list[Estimate], sentence: str) -> None:
    assert basis(estimates) == sentence


def test_the_plan_says_how_busy_the_machine_is() -> None:
    assert "40%" in load_line(Probe(SPEED, 1.7, 0.4))
    assert "does not say" in load_line(Probe(SPEED, 1.7, None))
