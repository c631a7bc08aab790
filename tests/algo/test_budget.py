"""Types within a budget: near the best possible, never over the limit, always done."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.algo.budget import Option, assign, bytes_allowed, needed_sparsity, spread, summed

menus = st.lists(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0, 5)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
).map(
    lambda found: {
        f"tensor {i}": [Option(f"type {j}", size, cost) for j, (size, cost) in enumerate(rows)]
        for i, rows in enumerate(found)
    }
)
anything = st.floats(allow_nan=True, allow_infinity=True)


def totals(options: dict, types: dict) -> tuple[int, float]:
    """(bytes, cost) of an assignment."""
    chosen = [next(o for o in found if o.type == types[name]) for name, found in options.items()]
    return sum(o.bytes for o in chosen), sum(o.cost for o in chosen)


def every(options: dict) -> list[tuple[int, float]]:
    return [
        (sum(o.bytes for o in p), sum(o.cost for o in p))
        for p in itertools.product(*options.values())
    ]


def largest_step(options: dict) -> tuple[int, float]:
    """The most bytes and the most cost that one tensor's choice can differ by."""
    spans = [(max(c) - min(c)) for found in options.values() for c in [[o.bytes for o in found]]]
    costs = [(max(c) - min(c)) for found in options.values() for c in [[o.cost for o in found]]]
    return max(spans), max(costs)


@settings(deadline=None, max_examples=200)
@given(menus, st.integers(0, 200))
def test_within_bytes_the_cost_is_the_least_but_for_one_step(options, limit):
    size, cost = totals(options, assign(options, max_bytes=limit))
    possible = [c for b, c in every(options) if b <= limit]
    if not possible:
        assert size == min(b for b, _ in every(options))
        return
    assert size <= limit
    assert min(possible) - 1e-9 <= cost <= min(possible) + largest_step(options)[1] + 1e-9


@settings(deadline=None, max_examples=200)
@given(menus, st.floats(0, 12))
def test_within_a_cost_the_bytes_are_the_fewest_but_for_one_step(options, limit):
    size, cost = totals(options, assign(options, max_cost=limit))
    possible = [b for b, c in every(options) if c <= limit]
    if not possible:
        assert cost == pytest.approx(min(c for _, c in every(options)))
        return
    assert cost <= limit + 1e-9
    assert min(possible) <= size <= min(possible) + largest_step(options)[0]


def test_greedy_is_not_always_optimal():
    """One large trade overshoots where two small ones would fit just as well: known, and bounded
    above.
    """
    options = {
        "a": [Option("wide", 10, 0.0), Option("narrow", 5, 1.0)],
        "b": [Option("wide", 10, 0.0), Option("narrow", 1, 1.5)],
    }
    assert totals(options, assign(options, max_bytes=15)) == (11, 1.5)
    assert min(c for b, c in every(options) if b <= 15) == 1.0


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(
        st.text("abc", max_size=2),
        st.lists(
            st.builds(
                Option, st.text("xyz", min_size=1, max_size=2), st.integers(-5, 60), anything
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=4,
    ),
    st.none() | anything,
    st.none() | st.integers(-10, 100),
)
def test_it_always_ends(options, max_cost, max_bytes):
    types = assign(options, max_cost, max_bytes)
    assert types.keys() == options.keys()
    assert all(types[name] in {o.type for o in found} for name, found in options.items())


def test_without_a_limit_it_is_the_smallest():
    options = {"a": [Option("w", 9, 0.0), Option("n", 4, 7.0)], "b": [Option("w", 9, 0.0)]}
    assert assign(options) == {"a": "n", "b": "w"}


def test_no_cost_allowed_keeps_the_best_of_each():
    options = {
        "a": [Option("w", 9, 0.1), Option("n", 4, 0.2)],
        "b": [Option("w", 9, 0.3), Option("n", 5, 0.3)],
    }
    assert assign(options, max_cost=0.0) == {"a": "w", "b": "n"}


def test_tensors_of_one_type_are_one_choice_of_what_all_of_them_allow():
    parts = [
        [Option("w", 9, 0.1), Option("n", 4, 0.2), Option("x", 1, 9.0)],
        [Option("n", 5, 0.3), Option("w", 8, 0.25)],
    ]
    assert summed(parts) == [Option("w", 17, pytest.approx(0.35)), Option("n", 9, 0.5)]


@given(
    st.integers(1, 10**9),
    st.integers(0, 10**9),
    st.integers(1, 10**9),
    st.sampled_from([4.5, 5.5, 8.5]),
)
def test_the_sparsity_is_what_just_fits(target, fixed, weights, bits):
    share = needed_sparsity(target, fixed, weights, bits)
    assert share >= 0
    after = fixed + (1 - share) * weights * bits / 8
    assert after <= target * (1 + 1e-9) + 1e-3 or math.isclose(after, target, rel_tol=1e-6)
    if share == 0:
        assert fixed + weights * bits / 8 <= target * (1 + 1e-9) + 1e-3
    assert (share > 1) == (fixed > target) or math.isclose(fixed, target, rel_tol=1e-6)


def test_a_spread_takes_the_cheapest_weights_of_all():
    generator = torch.Generator().manual_seed(0)
    costs = {
        n: (s * torch.rand(1000, generator=generator)).sort().values
        for n, s in (("a", 1.0), ("b", 3.0))
    }
    found = spread(costs, {"a": 1000, "b": 1000}, 0.5)
    limit = torch.cat(list(costs.values())).sort().values[999]
    assert found == {
        n: pytest.approx(float((c <= limit).float().mean()), abs=2e-3) for n, c in costs.items()
    }


def test_a_spread_counts_weights_and_caps_each_tensor():
    cheap, dear = torch.linspace(0, 1, 500), torch.linspace(5, 6, 500)
    found = spread({"small": cheap, "large": dear}, {"small": 100, "large": 900}, 0.5, most=0.9)
    assert found["small"] == 0.9
    assert 100 * found["small"] + 900 * found["large"] == pytest.approx(500, abs=2)


def test_a_target_is_bytes_or_a_share_of_f16():
    assert [bytes_allowed(target, 2000) for target in (None, 0.25, 300, 1)] == [None, 500, 300, 1]
