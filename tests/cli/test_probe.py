"""The probe tells a slow machine from a busy one, and ends soon in either case."""

from __future__ import annotations

import time

import pytest
import torch

from birdbone.cli.probe import OPERATIONS, bursts, mean_speed, median_speed, probe


def test_one_interrupted_burst_moves_the_mean_and_not_the_median() -> None:
    taken = [0.01] * 9 + [1.0]
    assert median_speed(taken) == pytest.approx(OPERATIONS / 0.01)
    assert mean_speed(taken) == pytest.approx(OPERATIONS * 10 / 1.09)


def test_bursts_end_after_the_time_but_never_before_three() -> None:
    assert len(bursts(lambda: time.sleep(0.02), 0.0, time.perf_counter)) == 3
    start = time.perf_counter()
    bursts(lambda: time.sleep(0.01), 0.1, time.perf_counter)
    assert time.perf_counter() - start < 1


def test_a_waiting_thread_costs_no_processor_time() -> None:
    assert (
        median_speed(bursts(lambda: time.sleep(0.02), 0.05, time.thread_time))
        > 10 * OPERATIONS / 0.02
    )


def test_the_probe_leaves_the_threads_as_they_were_and_gives_a_speed() -> None:
    threads = torch.get_num_threads()
    measured = probe("cpu", threads=1)
    assert torch.get_num_threads() == threads
    assert measured.speed.device == measured.speed.host > 1e8
    assert measured.slowdown >= 1
