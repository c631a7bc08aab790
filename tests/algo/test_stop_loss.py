"""The guard's verdicts as a table: accepted, one strike, two strikes, out."""

import pytest

from birdbone.algo.stop_loss import START, may_prune, standing_after, why_not

GOOD, BAD = True, False


def after(*waves: bool) -> dict:
    standing = START
    for passed in waves:
        standing = standing_after(standing, passed)
    return standing


@pytest.mark.parametrize(
    ("waves", "status", "strikes", "halvings", "stopped", "prunes_next"),
    [
        ((), "accepted", 0, 0, False, True),
        ((GOOD,), "accepted", 0, 0, False, True),
        ((BAD,), "provisional", 1, 1, False, False),
        ((BAD, GOOD), "accepted", 0, 1, False, True),
        ((BAD, BAD), "reverted", 2, 1, True, False),
        ((BAD, GOOD, BAD), "provisional", 1, 2, False, False),
        ((BAD, GOOD, BAD, GOOD), "accepted", 0, 2, False, True),
        ((BAD, GOOD, BAD, BAD), "reverted", 2, 2, True, False),
        ((BAD, BAD, GOOD), "stopped", 2, 1, True, False),
        ((BAD, BAD, BAD, GOOD), "stopped", 2, 1, True, False),
        ((GOOD, GOOD, BAD), "provisional", 1, 1, False, False),
    ],
)
def test_every_course_of_waves(waves, status, strikes, halvings, stopped, prunes_next):
    assert after(*waves) == {
        "wave": len(waves),
        "status": status,
        "strikes": strikes,
        "halvings": halvings,
        "stopped": stopped,
    }
    assert may_prune(after(*waves)) is prunes_next
    assert bool(why_not(after(*waves))) is not prunes_next


def test_reasons_tell_a_strike_from_a_stop():
    assert "first strike" in why_not(after(BAD)) and "stopped" in why_not(after(BAD, BAD))


def test_a_verdict_leaves_its_predecessor_alone():
    before = dict(START)
    standing_after(START, BAD)
    assert before == START
