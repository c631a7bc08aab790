"""What a wave removes: the cheapest, within every cluster's cap, at widths that stay multiples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.algo.selection import cheapest_chunks, cheapest_groups, eligible, eligible_across


def everything(width: int) -> torch.Tensor:
    return torch.ones(width, dtype=torch.bool)


@settings(deadline=None, max_examples=100)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80), cap=st.floats(0, 1), data=st.data()
)
def test_no_cluster_loses_more_than_its_cap_nor_its_last_member(labels, cap, data):
    clusters = torch.tensor(labels)
    values = torch.tensor(
        data.draw(st.lists(st.floats(0, 9), min_size=len(labels), max_size=len(labels)))
    )
    kept = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    )
    found = eligible(values, clusters, kept, cap)
    assert kept[found].all() and len(found.unique()) == len(found)
    assert (values[found].diff() >= 0).all()
    for label in clusters[kept].unique():
        members = kept & (clusters == label)
        gone = members[found].sum().item()
        assert gone <= cap * members.sum() + 1e-9 and gone < members.sum()
        stay = members.clone()
        stay[found] = False
        if gone:
            assert values[found[members[found]]].max() <= values[stay].min()


def test_ten_percent_of_each_cluster_may_go():
    clusters = torch.tensor([0] * 40 + [1] * 25 + [2] * 9 + [3])
    found = eligible(torch.arange(75.0), clusters, everything(75), 0.1)
    assert found.tolist() == [0, 1, 2, 3, 40, 41]


def test_after_an_earlier_wave_numbers_are_still_the_seeds():
    kept = everything(40)
    kept[:20] = False
    values = torch.arange(40, 0, -1.0)
    found = eligible(values, torch.zeros(40, dtype=torch.long), kept, 0.1)
    assert found.tolist() == [39, 38]


def test_the_cap_counts_present_members_alone():
    kept = everything(100)
    kept[:50] = False
    assert len(eligible(torch.rand(100), torch.zeros(100, dtype=torch.long), kept, 0.1)) == 5


def test_across_layers_the_cap_is_of_the_whole_cluster():
    """Cluster 0 has 40 neurons in layer 2 and 60 in layer 7; the ten cheapest lie where they
    lie.
    """
    clusters = {2: torch.tensor([0] * 40 + [1] * 20), 7: torch.tensor([0] * 60)}
    values = {2: torch.arange(60.0) + 8, 7: torch.arange(60.0)}
    found = eligible_across(values, clusters, {i: everything(60) for i in values}, 0.1)
    assert found[2].tolist() == [0, 40, 41] and found[7].tolist() == list(range(9))


@settings(deadline=None, max_examples=50)
@given(
    widths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    cap=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_clusters_that_do_not_span_layers_are_chosen_from_as_within_them(widths, cap, seed):
    generator = torch.Generator().manual_seed(seed)
    values = {i: torch.rand(n, generator=generator) for i, n in enumerate(widths)}
    kept = {i: torch.rand(n, generator=generator) > 0.2 for i, n in enumerate(widths)}
    labels = {i: torch.randint(0, 3, (n,), generator=generator) for i, n in enumerate(widths)}
    across = eligible_across(values, {i: x + 10 * i for i, x in labels.items()}, kept, cap)
    for layer in values:
        assert torch.equal(across[layer], eligible(values[layer], labels[layer], kept[layer], cap))


layers_of = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 200)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(
    layers=layers_of,
    nodes=st.integers(0, 500),
    level=st.floats(1e-3, 10),
    equal=st.booleans(),
    odd=st.integers(0, 31),
)
def test_uneven_widths_stay_multiples_and_the_budget_is_kept(layers, nodes, level, equal, odd):
    generator = torch.Generator().manual_seed(nodes)
    widths = {i: 32 * blocks + (odd if i == 0 else 0) for i, (blocks, _) in enumerate(layers)}
    values = {
        i: torch.full((w,), level) if equal else torch.rand(w, generator=generator)
        for i, w in widths.items()
    }
    order = {i: values[i].argsort(stable=True)[:count] for i, (_, count) in enumerate(layers)}
    chosen = cheapest_chunks(values, order, widths, nodes, 32, even=False)
    assert sum(len(found) for found in chosen.values()) <= nodes
    for layer, found in chosen.items():
        left = widths[layer] - len(found)
        assert left > 0 and left % 32 == 0
        assert torch.equal(found, order[layer][: len(found)])


@settings(deadline=None, max_examples=80)
@given(count=st.integers(1, 4), blocks=st.integers(1, 6), nodes=st.integers(0, 600), data=st.data())
def test_even_widths_stay_equal_multiples_within_the_budget(count, blocks, nodes, data):
    widths = dict.fromkeys(range(count), 32 * blocks)
    values = {i: torch.rand(w) for i, w in widths.items()}
    order = {i: v.argsort()[: data.draw(st.integers(0, 32 * blocks))] for i, v in values.items()}
    chosen = cheapest_chunks(values, order, widths, nodes, 32, even=True)
    taken = {len(found) for found in chosen.values()}
    assert sum(map(len, chosen.values())) <= nodes
    if taken:
        assert len(chosen) == count and len(taken) == 1 and taken.pop() % 32 == 0
    else:
        assert nodes < 32 * count or blocks == 1 or min(map(len, order.values())) < 32


def test_the_cheapest_chunks_go_first_whatever_their_layer():
    values = {
        0: torch.full((128,), 5.0),
        1: torch.full((128,), 1.0),
        2: torch.cat([torch.full((32,), 2.0), torch.full((96,), 9.0)]),
    }
    order = {i: v.argsort(stable=True) for i, v in values.items()}
    chosen = cheapest_chunks(values, order, dict.fromkeys(values, 128), 128, 32, even=False)
    assert {i: len(found) for i, found in chosen.items()} == {1: 96, 2: 32}


def test_an_odd_width_is_first_brought_to_a_multiple():
    values = {0: torch.rand(100)}
    chosen = cheapest_chunks(values, {0: values[0].argsort()}, {0: 100}, 40, 32, even=False)
    assert len(chosen[0]) == 36


GROUPS = {i: everything(3) for i in range(3)}


def test_groups_go_cheapest_first_and_leave_one_in_each_layer():
    values = {
        0: torch.tensor([1.0, 2.0, 3.0]),
        1: torch.tensor([0.1, 0.2, 0.3]),
        2: torch.tensor([9.0, 9.0, 9.0]),
    }
    assert cheapest_groups(values, GROUPS, limit=9, price=5.0) == [(1, 0), (1, 1), (0, 0), (0, 1)]
    assert cheapest_groups(values, GROUPS, limit=3, price=5.0) == [(1, 0), (1, 1), (0, 0)]


def test_groups_in_protected_layers_or_over_the_price_stay():
    values = {i: torch.tensor([1.0, 2.0, 3.0]) for i in range(3)}
    assert cheapest_groups(values, GROUPS, limit=9, price=1.5, protected=(0,)) == [(1, 0), (2, 0)]
    assert cheapest_groups(values, GROUPS, limit=9, price=1.0) == []


def test_groups_already_gone_are_neither_counted_nor_chosen():
    kept = {0: torch.tensor([False, True, True]), 1: torch.tensor([False, False, True])}
    values = {i: torch.zeros(3) for i in kept}
    assert cheapest_groups(values, kept, limit=9, price=1.0) == [(0, 1)]


@pytest.mark.parametrize("nodes", [0, 31])
def test_a_budget_under_one_chunk_takes_nothing(nodes):
    values = {0: torch.rand(64)}
    for even in (True, False):
        assert cheapest_chunks(values, {0: values[0].argsort()}, {0: 64}, nodes, 32, even) == {}
