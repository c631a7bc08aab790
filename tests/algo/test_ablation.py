"""Effects of silencing: planted sizes come back, intervals carry windows and random sets, verdicts
follow them.
"""

import numpy as np
import pytest

from birdbone.algo.ablation import Effects, effects, judgement, verdict

DOMAIN = np.repeat([0, 1, 2], 12)


def measured(
    own_effect: float, other_effect: float, noise: float = 0.002, experts: int = 2, seed: int = 0
):
    """Changes of loss where silencing costs the own domain more than the random sets' 0.01 by
    ``own_effect``.
    """
    rng = np.random.default_rng(seed)
    own = [[e % 3] for e in range(experts)]
    planted = np.stack([np.where(np.isin(DOMAIN, d), own_effect, other_effect) for d in own])
    random = 0.01 + noise * rng.standard_normal((experts, 4, len(DOMAIN)))
    return effects(0.01 + planted + noise * rng.standard_normal(planted.shape), random, own, DOMAIN)


def test_planted_effects_come_back():
    experts, mean = measured(0.05, 0.02)
    for one in [*experts, mean]:
        assert one.change[0] == pytest.approx(0.06, abs=0.003)
        assert (
            one.effect[0] == pytest.approx(0.05, abs=0.003)
            and one.effect[1] < one.effect[0] < one.effect[2]
        )
        assert one.others[0] == pytest.approx(0.02, abs=0.003)
        assert one.selectivity[0] == pytest.approx(one.effect[0] - one.others[0])
        assert one.above == 1.0 and judgement(one) == "holds"
    assert experts[1].domains[1] == pytest.approx(experts[1].effect[0])
    assert verdict(experts, mean) == "holds"


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (0.05, 0.05, "not selective"),
        (0.0, -0.05, "not above random"),
        (-0.05, 0.0, "does not hold"),
    ],
)
def test_what_does_not_hold_is_said(own, other, said):
    experts, mean = measured(own, other, noise=0.01)
    assert [judgement(e) for e in experts] == [said, said]
    assert verdict(experts, mean) == "does not hold"


def test_noise_alone_does_not_hold():
    judged = [judgement(e) for seed in range(10) for e in measured(0, 0, noise=0.05, seed=seed)[0]]
    assert judged.count("holds") <= 1


def test_several_labels_are_the_own_domain_together():
    changes = np.array([[0.3] * 12 + [0.1] * 12 + [0.0] * 12])
    (one,), _ = effects(changes, np.zeros((1, 2, 36)), [[0, 1]], DOMAIN)
    assert one.effect == pytest.approx((0.2, 0.2, 0.2)) and one.others == pytest.approx((0, 0, 0))


def test_random_sets_that_differ_widen_the_interval():
    changes, alike = np.full((1, 36), 0.5), np.full((1, 4, 36), 0.1)
    differing = alike * np.array([0.2, 0.6, 1.4, 1.8])[None, :, None]
    (narrow,), _ = effects(changes, alike, [[0]], DOMAIN)
    (wide,), _ = effects(changes, differing, [[0]], DOMAIN)
    assert narrow.effect[0] == pytest.approx(wide.effect[0])
    assert wide.effect[2] - wide.effect[1] > 0.05 > narrow.effect[2] - narrow.effect[1]


def test_most_experts_must_hold_for_the_whole_to():
    good = Effects((1, 1, 1), (1, 0.5, 2), (0, 0, 0), (1, 0.5, 2), [1.0], 1.0)
    poor = Effects((1, 1, 1), (1, -0.5, 2), (0, 0, 0), (1, 0.5, 2), [1.0], 1.0)
    assert verdict([good, good, poor], good) == "holds"
    assert verdict([good, poor], good) == "holds in part"
    assert verdict([good, good], poor) == "does not hold"


@pytest.mark.parametrize(
    ("changes", "random", "domain"),
    [
        (np.zeros((1, 3)), np.zeros((1, 2, 3)), [0, 0, 1]),
        (np.zeros((1, 4)), np.zeros((1, 1, 4)), [0, 0, 1, 1]),
        (np.full((1, 4), np.nan), np.zeros((1, 2, 4)), [0, 0, 1, 1]),
    ],
    ids=["one window", "one random set", "not finite"],
)
def test_without_enough_to_draw_from_there_is_no_interval(changes, random, domain):
    with pytest.raises(ValueError, match="at least two|not finite"):
        effects(changes, random, [[0]], np.array(domain))
