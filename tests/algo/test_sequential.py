"""What is foreseen of a full reading: right, honest in width, narrower with a helper."""

import numpy as np
import pytest

from birdbone.algo.bootstrap import ratio_interval
from birdbone.algo.sequential import FEW, deviations, foresee

DOCUMENTS = 60
ERRORS = 3.0
CHANCE = 0.05


def texts(seed: int, alike: float = 0.0) -> tuple[np.ndarray, ...]:
    """Losses before and after, tokens, and losses of a model whose documents fare alike."""
    random = np.random.default_rng(seed)
    counts = 255.0 * random.integers(1, 4, DOCUMENTS)
    before = 3 * counts
    common, own = random.normal(size=(2, DOCUMENTS))
    fate = alike * common + np.sqrt(1 - alike**2) * own
    after = before + counts * (0.02 + 0.02 * fate)
    other = before + counts * (0.03 + 0.02 * common)
    return before, after, counts, other


def read(seed: int, count: int, helped: bool = False, alike: float = 0.0):
    before, after, counts, other = texts(seed, alike)
    rows = np.random.default_rng(seed + 1).permutation(DOCUMENTS)[:count]
    helper = deviations(before, other, counts)[rows] if helped else None
    total = (DOCUMENTS, float(counts.sum()))
    return foresee(before[rows], after[rows], counts[rows], total, ERRORS, CHANCE, helper)


def full(seed: int, alike: float = 0.0) -> tuple[float, float]:
    before, after, counts, _ = texts(seed, alike)
    change, low, high = ratio_interval(before, after, counts)
    few = np.sqrt(DOCUMENTS / (DOCUMENTS - 1))
    return change, change + ERRORS * few * (high - low) / 4


@pytest.mark.parametrize("helped", [False, True])
def test_all_documents_read_leave_no_doubt(helped):
    seen = read(3, DOCUMENTS, helped, 0.9)
    change, bound = full(3, 0.9)
    assert seen.change == pytest.approx(change, rel=1e-9)
    assert seen.bound_low == seen.bound == seen.bound_high
    assert seen.bound == pytest.approx(bound, rel=0.05)  # the bootstrap draws its standard error


@pytest.mark.parametrize("helped", [False, True])
def test_the_interval_holds_at_every_look_together(helped):
    missed = 0
    for seed in range(200):
        _, bound = full(seed, 0.9)
        looks = [read(seed, count, helped, 0.9) for count in range(FEW, DOCUMENTS, 4)]
        missed += not all(seen.bound_low <= bound <= seen.bound_high for seen in looks)
    assert missed / 200 <= 1.5 * CHANCE  # as near as 200 draws show


def test_a_helper_whose_documents_fare_alike_narrows_it_and_another_does_not():
    def width(helped: bool, alike: float) -> float:
        found = [read(seed, 30, helped, alike) for seed in range(20)]
        return float(np.mean([seen.bound_high - seen.bound_low for seen in found]))

    assert width(True, 0.95) < 0.7 * width(False, 0.95)
    assert width(True, 0.0) == pytest.approx(width(False, 0.0), rel=0.1)


def test_it_narrows_as_more_is_read():
    widths = [
        np.mean([read(s, n).bound_high - read(s, n).bound_low for s in range(10)])
        for n in (10, 20, 40, 55)
    ]
    assert widths == sorted(widths, reverse=True)


def test_a_few_documents_say_nothing():
    with pytest.raises(ValueError, match="too few"):
        read(0, FEW - 1)


def test_equal_models_and_no_spread_need_no_room():
    counts = np.full(FEW, 255.0)
    seen = foresee(3 * counts, 3 * counts, counts, (40, 40 * 255.0), ERRORS, CHANCE)
    assert (seen.change, seen.bound_low, seen.bound_high) == (0, 0, 0)
