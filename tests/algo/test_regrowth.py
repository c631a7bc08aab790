"""Removed neurons come back where the loss asks for them, in chunks that keep widths multiples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.algo.regrowth import best_chunks, outgoing_gradient, refit_columns


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_is_autograds_for_columns_that_are_zero():
    h, target = some(30, 5), some(30, 4, seed=1)
    columns = torch.zeros(4, 5, requires_grad=True)
    out = h @ columns.T
    out.retain_grad()
    torch.nn.functional.cross_entropy(out, target.softmax(-1), reduction="sum").backward()
    torch.testing.assert_close(outgoing_gradient(h, out.grad), columns.grad)


@settings(deadline=None, max_examples=100)
@given(
    layers=st.lists(st.tuples(st.integers(0, 150), st.integers(1, 200)), min_size=1, max_size=4),
    limit=st.integers(0, 300),
    equal=st.booleans(),
)
def test_widths_become_multiples_within_the_limit(layers, limit, equal):
    removed = {i: torch.arange(count) * 2 + 1 for i, (count, _) in enumerate(layers)}
    gains = {
        i: torch.full((len(r),), 0.1) if equal else some(len(r), seed=i).abs()
        for i, r in removed.items()
    }
    widths = {i: width for i, (_, width) in enumerate(layers)}
    found = best_chunks(gains, removed, widths, limit, 32)
    assert sum(map(len, found.values())) <= limit
    for layer, neurons in found.items():
        assert (widths[layer] + len(neurons)) % 32 == 0
        assert torch.isin(neurons, removed[layer]).all() and (neurons.diff() > 0).all()
        kept = torch.isin(removed[layer], neurons)
        if not kept.all():
            assert gains[layer][kept].min() >= gains[layer][~kept].max()


def test_the_layer_with_the_largest_gain_is_served_first():
    removed = {0: torch.arange(64), 1: torch.arange(64)}
    gains = {0: torch.ones(64), 1: torch.cat([torch.full((32,), 9.0), torch.zeros(32)])}
    assert {
        i: n.tolist() for i, n in best_chunks(gains, removed, {0: 64, 1: 64}, 32, 32).items()
    } == {1: [*range(32)]}
    assert {i: len(n) for i, n in best_chunks(gains, removed, {0: 64, 1: 64}, 96, 32).items()} == {
        0: 64,
        1: 32,
    }


def test_too_few_removed_neurons_bring_nothing_back():
    assert best_chunks({0: torch.ones(31)}, {0: torch.arange(31)}, {0: 64}, 100, 32) == {}


def test_columns_fitted_without_damping_are_least_squares():
    h, lacks = some(60, 5), some(60, 4, seed=1)
    found = refit_columns(lacks.T @ h, h.T @ h, damping=0.0)
    torch.testing.assert_close(found, torch.linalg.lstsq(h, lacks).solution.T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("damping", [1e-6, 0.01, 1.0])
def test_fitted_columns_lower_the_residual(damping):
    h, columns = some(60, 5), some(4, 5, seed=2)
    lacks = h @ columns.T + 0.5 * some(60, 4, seed=1)
    found = refit_columns(lacks.T @ h, h.T @ h, damping)
    assert (lacks - h @ found.T).norm() < 0.9 * lacks.norm()


def test_a_silent_neuron_gets_no_output():
    h, lacks = some(60, 5), some(60, 4, seed=1)
    h[:, 3] = 0
    found = refit_columns(lacks.T @ h, h.T @ h, damping=0.01)
    assert found.isfinite().all() and not found[:, 3].any()
