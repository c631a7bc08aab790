"""Planted loops and groups stand out from permuted nodes; noise does not."""

import math

import pytest
import torch

from birdbone.algo.persistence import homology

QUICK = {"landmarks": 48, "permutations": 19}


def noise(nodes: int = 60, tokens: int = 200, seed: int = 0) -> torch.Tensor:
    return torch.randn(nodes, tokens, generator=torch.Generator().manual_seed(seed))


def circles(count: int = 2, nodes: int = 24, tokens: int = 200) -> torch.Tensor:
    """Nodes at angles around each of ``count`` circles, each tuned to the tokens' angle on its own
    circle.
    """
    generator = torch.Generator().manual_seed(1)
    angles = 2 * math.pi * torch.arange(nodes) / nodes
    rows = []
    for _ in range(count):
        token = 2 * math.pi * torch.rand(tokens, generator=generator)
        rows.append(torch.cos(angles[:, None] - token))
    return torch.cat(rows) + 0.1 * torch.randn(count * nodes, tokens, generator=generator)


def test_two_planted_circles_are_two_long_loops_that_the_permuted_nodes_lack():
    found = homology(circles(), **QUICK)
    longest = (found.diagrams[1][:, 1] - found.diagrams[1][:, 0]).sort(descending=True).values
    assert longest[1] > 5 * (longest[2] if len(longest) > 2 else 0.1)
    permuted = found.baseline[1][:, 1] - found.baseline[1][:, 0]
    assert permuted.max() < 0.2 * longest[1]
    loop = found.tests["h1_longest"]
    assert loop["p"] == 1 / 20 and loop["effect"] > 10
    assert loop["observed"] == pytest.approx(float(longest[0]))


def test_groups_shorten_the_bars_of_components():
    signals = noise(3).repeat_interleave(16, 0)
    found = homology(signals + 0.5 * noise(48, seed=2), **QUICK)
    assert found.tests["h0_total"]["p"] == 1 / 20 and found.tests["h0_total"]["effect"] > 10


@pytest.mark.parametrize("seed", range(3))
def test_pure_noise_is_not_significant(seed):
    found = homology(noise(seed=seed), **QUICK, random_seed=seed)
    for figures in found.tests.values():
        assert figures["p"] > 0.05 and abs(figures["effect"]) < 3


def test_p_counts_the_permutations_that_are_as_extreme():
    """Whatever the statistic, p is a whole number of (permutations + 1)ths and never 0."""
    for figures in homology(noise(), landmarks=24, permutations=9).tests.values():
        assert figures["p"] * 10 == pytest.approx(round(figures["p"] * 10)) and figures["p"] >= 0.1


def test_a_component_less_than_landmarks_dies():
    found = homology(noise(40), landmarks=30, permutations=1)
    assert found.landmarks == 30 == len(found.diagrams[0]) + 1
    assert (found.diagrams[0][:, 0] == 0).all() and (
        found.diagrams[1][:, 1] > found.diagrams[1][:, 0]
    ).all()


def test_the_same_seed_gives_the_same_result():
    first, second = (
        homology(noise(), landmarks=24, permutations=2, random_seed=5) for _ in range(2)
    )
    assert first.tests == second.tests and torch.equal(first.diagrams[1], second.diagrams[1])
    other = homology(noise(), landmarks=24, permutations=2, random_seed=6)
    assert first.tests != other.tests


@pytest.mark.parametrize("varying", [0, 1, 2])
def test_hardly_any_node_that_varies_has_nothing_to_compare(varying):
    profiles = torch.ones(20, 50)
    profiles[:varying] = noise(2, 50)[:varying]
    found = homology(profiles, **QUICK)
    assert (
        found.landmarks == varying
        and len(found.diagrams[0]) == max(0, varying - 1)
        and not len(found.diagrams[1])
    )
    assert found.tests["h1_longest"] == {
        "observed": 0.0,
        "mean": 0.0,
        "std": 0.0,
        "effect": None,
        "p": 1.0,
    }


@pytest.mark.parametrize(
    ("profiles", "choices"),
    [(torch.full((4, 8), math.nan), {}), (torch.zeros(4), {}), (noise(), {"permutations": 0})],
    ids=["not finite", "not a matrix", "no permutation"],
)
def test_what_cannot_be_computed_is_refused(profiles, choices):
    with pytest.raises(ValueError, match="profiles must be finite|at least one permutation"):
        homology(profiles, **choices)
