"""How fast this machine is, and how much of it other processes take: two seconds of matrix
products.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from birdbone.run.cost import Speed
from birdbone.run.load import Load

SECONDS = 0.8
"""Of each of the probe's two halves."""
EFFICIENCY = 0.75
"""Share of a matrix product's speed that a forward pass through a whole model reaches."""
OPERATIONS = 2 * 512 * 1024 * 1024
"""Of one product of the shape below, floating point."""


@dataclass(frozen=True)
class Probe:
    """speed: of the idle machine. slowdown: how many times longer work takes at the present load.
    others: share of the machine's processor time that other processes took meanwhile, None where
    unknown.
    """

    speed: Speed
    slowdown: float
    others: float | None


def probe(device: str, threads: int | None = None) -> Probe:
    """Measure ``device`` and the processor. Takes two to three seconds, whatever else the machine
    does.

    One thread's own processor time says how fast an idle core is: waiting does not count in it. The
    clock beside all threads then says what the other processes leave of that.
    """
    load = Load()
    before = torch.get_num_threads()
    threads = threads or before
    torch.set_num_threads(1)
    try:
        alone = threads * median_speed(bursts(_product("cpu"), SECONDS, time.thread_time))
    finally:
        torch.set_num_threads(before)
    if device == "cpu":
        torch.set_num_threads(threads)
        now = mean_speed(bursts(_product("cpu"), SECONDS, time.perf_counter))
        torch.set_num_threads(before)
        on_device = alone
    else:
        taken = bursts(_product(device), SECONDS, time.perf_counter)
        now = mean_speed(taken)
        on_device = OPERATIONS / min(taken)
    speed = Speed(device=EFFICIENCY * on_device, host=EFFICIENCY * alone)
    return Probe(speed, max(1.0, on_device / now), load.others())


def bursts(
    product: Callable[[], object], seconds: float, clock: Callable[[], float]
) -> list[float]:
    """Seconds by ``clock`` of each of the products that fit into ``seconds``, at least three; a
    first one warms up.
    """
    product()
    end = time.perf_counter() + seconds
    taken = []
    while len(taken) < 3 or time.perf_counter() < end:
        start = clock()
        product()
        taken.append(clock() - start)
    return taken


def median_speed(taken: list[float]) -> float:
    """Operations a second of the middle burst: neither interruptions nor a lucky one move it."""
    return OPERATIONS / median(taken)


def mean_speed(taken: list[float]) -> float:
    """Operations a second over all bursts, interruptions included."""
    return OPERATIONS * len(taken) / sum(taken)


def _product(device: str) -> Callable[[], Tensor]:
    a = torch.randn(512, 1024, device=device)
    b = torch.randn(1024, 1024, device=device)

    def product() -> Tensor:
        result = a @ b
        if device != "cpu":
            torch.cuda.synchronize()
        return result

    return product
