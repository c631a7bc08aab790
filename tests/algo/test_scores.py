"""Every score ranks nodes by what it says it measures."""

import pytest
import torch

from birdbone.algo.scores import SCORES, NodeStats
from birdbone.algo.sps import NodeMoments


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


H, G = some(50, 6), some(50, 6, seed=1)
STATS = NodeStats(
    NodeMoments.zero(6).add(H, G), incoming=torch.arange(1.0, 7), outgoing=torch.arange(6.0, 0, -1)
)


def by(name: str, seed: int = 0) -> torch.Tensor:
    return SCORES[name](STATS, torch.Generator().manual_seed(seed))


def test_the_registry_holds_each_score_under_its_name():
    assert set(SCORES) == {
        "taylor",
        "fisher",
        "fisher_joint",
        "fisher_max",
        "wanda",
        "magnitude",
        "sps",
        "random",
    }
    assert all(function.__name__ == name for name, function in SCORES.items())


def test_every_score_is_one_finite_number_per_node():
    for name in SCORES:
        assert by(name).shape == (6,) and by(name).isfinite().all()


def test_taylor_is_the_mean_of_activation_times_gradient():
    torch.testing.assert_close(by("taylor"), (H * G).abs().mean(0))


def test_fisher_is_the_product_of_both_mean_squares():
    torch.testing.assert_close(by("fisher"), H.square().mean(0) * G.square().mean(0))


def test_fisher_joint_is_the_mean_square_of_the_product():
    torch.testing.assert_close(by("fisher_joint"), (H * G).square().mean(0))


def test_fisher_max_is_the_larger_of_both_estimates():
    torch.testing.assert_close(by("fisher_max"), torch.maximum(by("fisher"), by("fisher_joint")))


def test_a_node_that_fires_just_where_the_loss_minds_is_not_called_cheap():
    h, g = torch.rand(100, 2) * 0.01, torch.rand(100, 2) * 0.01
    h[7, 0], g[7, 0] = 10, 10  # both at one token
    h[7, 1], g[8, 1] = 10, 10  # at two
    seen = NodeMoments.zero(2).add(h, g)
    stats = NodeStats(seen, torch.ones(2), torch.ones(2))
    generator = torch.Generator()
    assert SCORES["fisher"](stats, generator)[0] == pytest.approx(
        SCORES["fisher"](stats, generator)[1].item(), rel=0.05
    )
    assert (
        SCORES["fisher_max"](stats, generator)[0] > 50 * SCORES["fisher_max"](stats, generator)[1]
    )


def test_wanda_is_the_activations_root_mean_square_times_the_outgoing_norm():
    torch.testing.assert_close(by("wanda"), H.square().mean(0).sqrt() * STATS.outgoing)


def test_magnitude_is_the_product_of_norms():
    assert by("magnitude").tolist() == [6, 10, 12, 12, 10, 6]


def test_a_silent_neuron_is_worth_nothing_to_taylor_and_wanda():
    silent = H.clone()
    silent[:, 2] = 0
    stats = NodeStats(NodeMoments.zero(6).add(silent, G), STATS.incoming, STATS.outgoing)
    for name in ("taylor", "fisher", "wanda"):
        scores = SCORES[name](stats, torch.Generator())
        assert scores[2] == 0 and (scores[[0, 1, 3, 4, 5]] > 0).all()


def test_chance_follows_its_generator_alone():
    assert torch.equal(by("random", 3), by("random", 3)) and not torch.equal(
        by("random", 3), by("random", 4)
    )
