"""What a node costs: the one cost model. Its rows stand beside the stages, in
``pipelines/<stage>/cost.py``.

A row gives a node's work in tokens passed forward once through the whole model, which is what
nearly all of a run's time goes into, and in seconds for what no model changes. The factors are
processor time of one thread on random llama models of 33 and 134 million weights; ``python
benchmarks/plan.py`` compares the rows with the timings of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

STATES = 0.85
"""Forward passes of a token whose final states are computed, without the head."""
JUDGE = 1.15
"""Of a token judged: forward, and the seed's head on the seed's states."""
MOMENTS = 1.6
"""Of a token whose second moments are summed."""
HEAL = 4.0
"""Of a token healed on: the student forward and backward, the teacher forward."""
WRITE = 2.4
"""Of a token that the model writes, many texts at a time."""
CANARIES = 5500
"""Tokens that all canaries take."""


@dataclass(frozen=True)
class Work:
    """tokens: passed forward on the run's device. host_tokens: the same where the device is always
    the processor (llama.cpp, NumPy). seconds: of work whose time the model's size does not change.
    """

    tokens: float = 0
    host_tokens: float = 0
    seconds: float = 1


@dataclass(frozen=True)
class Speed:
    """Floating point operations a second of an idle machine, in forward passes: of the run's
    device, and its processor.
    """

    device: float
    host: float


def duration(work: Work, flops: float, speed: Speed) -> float:
    """Seconds that ``work`` takes on a model of ``flops`` operations a token."""
    return work.tokens * flops / speed.device + work.host_tokens * flops / speed.host + work.seconds
