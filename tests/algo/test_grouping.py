"""Nodes as a shared expert and equally wide routed ones."""

import pytest
import torch

from birdbone.algo.grouping import GROUPINGS, balanced_kmeans, grouped, shared_nodes


def families(
    each: int = 12, count: int = 4, tokens: int = 200
) -> tuple[torch.Tensor, torch.Tensor]:
    """Profiles [each * count, tokens] of nodes that fire together by family, shuffled, and the
    families.
    """
    generator = torch.Generator().manual_seed(0)
    strength = torch.rand(count, tokens, generator=generator)
    family = torch.arange(count).repeat_interleave(each)[
        torch.randperm(each * count, generator=generator)
    ]
    sign = torch.randn(each * count, tokens, generator=generator).sign()
    return sign * (
        strength[family] + 0.1 * torch.rand(each * count, tokens, generator=generator)
    ), family


def test_the_shared_expert_is_what_most_tokens_need() -> None:
    contributions = torch.full((6, 50), 0.1)
    contributions[1], contributions[4] = 1.0, 0.9  # always
    contributions[2, :3] = 100.0  # seldom, however much
    assert shared_nodes(contributions, 2).tolist() == [1, 4]


def test_among_equals_the_larger_mean_is_shared() -> None:
    contributions = torch.eye(4).repeat(1, 5) * torch.tensor([1.0, 3.0, 2.0, 1.0])[:, None]
    assert shared_nodes(contributions, 1).tolist() == [1]


@pytest.mark.parametrize("method", GROUPINGS)
def test_every_expert_gets_equally_many_nodes_and_a_seed_decides_alone(method: str) -> None:
    profiles, family = families()
    first, again = (grouped(method, profiles, family, 6, random_seed=3) for _ in range(2))
    assert first.bincount(minlength=6).tolist() == [8] * 6
    assert torch.equal(first, again)
    if method != "topology":
        assert not torch.equal(first, grouped(method, profiles, family, 6, random_seed=4))


@pytest.mark.parametrize("method", ["topology", "kmeans"])
def test_nodes_that_fire_together_share_an_expert_whatever_their_sign(method: str) -> None:
    profiles, family = families()
    expert = grouped(method, profiles, family, 4, random_seed=1)
    if method == "topology":
        assert all(family[expert == number].unique().numel() == 1 for number in range(4))
    random = grouped("random", profiles, family, 4, random_seed=1)
    assert purity(family, expert) > purity(family, random) + 0.2


def test_a_cluster_of_two_experts_is_cut_and_no_expert_crosses_into_it() -> None:
    profiles, family = families()
    labels = (family >= 2).long() * 2 + (family == 1).long()  # families 2 and 3 are one cluster
    expert = grouped("topology", profiles, labels, 4, random_seed=0)
    assert all(labels[expert == number].unique().numel() == 1 for number in range(4))
    assert sorted(labels[expert == number][0].item() for number in range(4)) == [0, 1, 2, 2]


def test_silent_nodes_find_a_place() -> None:
    profiles, family = families()
    profiles[family == 3] = 0
    expert = grouped("topology", profiles, family, 4, random_seed=0)
    assert expert.bincount().tolist() == [12] * 4
    assert expert[family == 3].unique().numel() == 1


def test_balanced_kmeans_finds_equal_groups_that_are_there() -> None:
    points = torch.nn.functional.normalize(
        torch.eye(3).repeat(5, 1) + 0.05 * torch.ones(15, 3), dim=1
    )
    found = balanced_kmeans(points, points[:3])
    assert found.tolist() == [0, 1, 2] * 5


def purity(family: torch.Tensor, expert: torch.Tensor) -> float:
    return sum(
        family[expert == number].bincount().max().item() for number in expert.unique()
    ) / len(family)
