"""Which domain a set of nodes is for, what fires it, and the random sets beside it."""

import pytest
import torch

from birdbone.algo.experts import firing, members_of, random_sets, selectivity


def values(layers=(0, 3), nodes=100, domains=3, seed=0):
    """Importance of every node in every domain, heavy-tailed as it is in models."""
    generator = torch.Generator().manual_seed(seed)
    return {
        i: torch.rand(nodes, generator=generator).expand(domains, -1).clone() ** 4 + 0.01
        for i in layers
    }


def test_a_planted_label_is_recovered_with_its_size():
    found = values()
    members = {0: torch.arange(10), 3: torch.arange(40, 50)}
    for layer, nodes in members.items():
        found[layer][1, nodes] *= 16
    (one,) = selectivity(found, [members])
    assert one.labels == [1]
    assert one.selectivity[1] == pytest.approx(
        float(one.enrichment[1] - one.enrichment[[0, 2]].mean())
    )
    assert one.enrichment[0] == pytest.approx(float(one.enrichment[2])) and one.selectivity[1] > 2


def test_two_domains_can_be_labels_the_stronger_first():
    found = values(domains=4)
    found[3][2, :20] *= 48
    found[3][0, :20] *= 64
    assert selectivity(found, [{3: torch.arange(20)}])[0].labels == [0, 2]


def test_a_node_that_matters_everywhere_gives_no_label():
    found = values()
    found[0][:, :10] *= 1000
    (one,) = selectivity(found, [{0: torch.arange(10)}])
    assert one.labels == [] and one.enrichment.min() > 3 and one.selectivity.abs().max() < 0.01


def test_sets_are_judged_apart_from_each_other():
    found = values()
    sets = [{0: torch.arange(10)}, {0: torch.arange(30), 3: torch.arange(5)}]
    alone = [selectivity(found, [members])[0].enrichment for members in sets]
    assert all(
        torch.equal(a, one.enrichment)
        for a, one in zip(alone, selectivity(found, sets), strict=True)
    )


def test_random_sets_get_a_label_about_as_seldom_as_promised():
    generator = torch.Generator().manual_seed(2)
    found = {0: torch.rand(3, 200, generator=generator) ** 4}
    sets = [torch.randperm(200, generator=generator)[:20] for _ in range(200)]
    labelled = sum(
        bool(one.labels) for one in selectivity(found, [{0: nodes} for nodes in sets], draws=400)
    )
    assert 1 <= labelled <= 22


def test_silent_nodes_have_no_preference():
    silent = {0: torch.zeros(3, 50)}
    (one,) = selectivity(silent, [{0: torch.arange(5)}])
    assert one.labels == [] and one.enrichment.isfinite().all()


def test_firing_is_relative_to_each_nodes_own_mean_whatever_its_scale_and_sign():
    profile = torch.ones(4, 10)
    profile[:2, 3] = 12.0
    profile[1] *= -100
    strength = firing({5: profile}, {5: torch.tensor([0, 1])})
    assert strength.argmax() == 3 and strength[3] == pytest.approx(12 / 2.1)
    assert firing({5: torch.zeros(2, 4)}, {5: torch.arange(2)}).tolist() == [0.0] * 4


def test_random_sets_have_equal_size_in_the_same_layers_and_leave_the_members_out():
    members = {1: torch.arange(10), 4: torch.tensor([7])}
    sets = random_sets({1: 40, 4: 8}, members, 20, random_seed=0)
    assert len(sets) == 20 and len({tuple(s[1].tolist()) for s in sets}) == 20
    for drawn in sets:
        assert {i: len(nodes.unique()) for i, nodes in drawn.items()} == {1: 10, 4: 1}
        assert drawn[1].min() >= 10 and drawn[4] != 7


def test_where_others_are_too_few_members_fill_up():
    (drawn,) = random_sets({0: 10}, {0: torch.arange(8)}, 1, random_seed=0)
    assert len(drawn[0].unique()) == 8 and {8, 9} <= set(drawn[0].tolist())


def test_members_of_a_cluster_in_one_layer_and_across():
    labels = {0: torch.tensor([1, 0, 1]), 2: torch.tensor([0, 0, 0]), 5: torch.tensor([1, 2, 0])}
    across = members_of(labels, None, 1)
    assert {i: nodes.tolist() for i, nodes in across.items()} == {0: [0, 2], 5: [0]}
    assert {i: nodes.tolist() for i, nodes in members_of(labels, 5, 2).items()} == {5: [1]}
