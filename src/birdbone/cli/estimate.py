"""Seconds of each node on an idle machine: by its own earlier timing where there is one, else by
the probe.
"""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.cli.earlier import Earlier
from birdbone.cli.probe import Probe
from birdbone.run.cost import Speed, Work, duration

FARTHEST = 10
"""Times less or more work than an earlier timing may have been for it to say anything."""


@dataclass(frozen=True)
class Estimate:
    """seconds: on an idle machine. timing: the day of the run it rests on, None where it rests on
    the probe. scaled: whether that run did other work.
    """

    seconds: float
    timing: str | None = None
    scaled: bool = False


def estimate(work: Work, flops: float, speed: Speed, earlier: list[Earlier]) -> Estimate:
    """Of one node: the earlier timing of the nearest amount of work, scaled to this one by the cost
    model.
    """
    expected = duration(work, flops, speed)
    ratios = [(expected / duration(e.work, e.flops, speed), e.timing) for e in earlier]
    near = [pair for pair in ratios if 1 / FARTHEST <= pair[0] <= FARTHEST]
    if not near:
        return Estimate(expected)
    ratio, timing = min(near, key=lambda pair: max(pair[0], 1 / pair[0]))
    return Estimate(ratio * timing.alone, timing.ended, scaled=ratio != 1)


def basis(estimates: list[Estimate]) -> str:
    """What the estimates rest on, in a sentence."""
    timed = [e for e in estimates if e.timing]
    parts = []
    if timed:
        days = sorted({e.timing for e in timed})
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        scaled = ", scaled to this work," if any(e.scaled for e in timed) else ""
        parts.append(
            f"by the timings of the run of {span}{scaled} for {len(timed)} of {len(estimates)} "
            "nodes"
        )
    if len(timed) < len(estimates):
        parts.append("by a probe of this machine" + (" for the others" if timed else ""))
    return " and ".join(parts)


def load_line(probe: Probe) -> str:
    """How busy the machine is, in a sentence."""
    if probe.others is None:
        return "this system does not say how busy other processes keep it"
    return f"other processes took {probe.others:.0%} of the machine during the probe"
