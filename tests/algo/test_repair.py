"""The columns that stay take over the output of those that went."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.algo.moments import output_error, second_moment
from birdbone.algo.repair import repair_columns


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def first(count: int, kept: int) -> torch.Tensor:
    return torch.arange(count) < kept


def error(weight, kept, new, moment) -> float:
    change = torch.where(kept, 0.0, -weight)
    change[:, kept] += new - weight[:, kept]
    return output_error(change, moment)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    tokens=st.integers(1, 60),
    kept=st.integers(1, 23),
    damping=st.sampled_from([1e-6, 0.01, 1.0]),
)
def test_the_held_out_error_is_never_over_the_deletions(seed, tokens, kept, damping):
    weight, mix, mask = some(8, 24, seed=seed), some(24, 24, seed=seed + 1), first(24, kept)
    fit, check = (
        second_moment(some(n, 24, seed=s) @ mix) for n, s in ((tokens, seed + 2), (40, seed + 3))
    )
    new, figures = repair_columns(weight, mask, fit, check, damping)
    assert new.shape == (8, kept) and new.isfinite().all()
    after, before = error(weight, mask, new, check), error(weight, mask, weight[:, mask], check)
    assert after <= before * (1 + 1e-6)
    assert figures["repaired_error"] <= figures["deleted_error"]
    assert figures["repaired_error"] == pytest.approx(
        after / output_error(weight, check), rel=1e-3, abs=1e-6
    )


def test_columns_that_are_combinations_of_others_are_recovered_exactly():
    x = some(200, 16)
    x = torch.cat([x, x @ some(16, 8, seed=1)], 1)
    weight, kept = some(5, 24, seed=2), first(24, 16)
    new, figures = repair_columns(
        weight, kept, second_moment(x[:150]), second_moment(x[150:]), damping=1e-7
    )
    torch.testing.assert_close(x[:, :16] @ new.T, x @ weight.T, atol=1e-2, rtol=1e-3)
    assert (
        figures["repaired"] == 1.0 and figures["repaired_error"] < 1e-6 < figures["deleted_error"]
    )


def test_without_damping_it_is_the_least_squares_solution():
    x, weight, kept = some(100, 12) @ some(12, 12, seed=4), some(3, 12, seed=1), first(12, 7)
    moment = second_moment(x)
    new, _ = repair_columns(weight, kept, moment, moment, damping=0.0)
    expected = torch.linalg.lstsq(x[:, kept].double(), (x @ weight.T).double()).solution.T
    torch.testing.assert_close(new, expected.float(), atol=1e-3, rtol=1e-3)


def test_independent_inputs_leave_nothing_to_repair():
    weight, kept = some(4, 10), first(10, 6)
    new, figures = repair_columns(weight, kept, torch.eye(10), torch.eye(10))
    torch.testing.assert_close(new, weight[:, kept], atol=1e-5, rtol=1e-5)
    assert figures["repaired_error"] == pytest.approx(figures["deleted_error"])


def test_a_refit_that_does_not_hold_on_other_tokens_is_dropped():
    weight, kept = torch.tensor([[1.0, 1.0]]), torch.tensor([True, False])
    together, opposed = (
        torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
        torch.tensor([[1.0, -1.0], [-1.0, 1.0]]),
    )
    new, figures = repair_columns(weight, kept, together, opposed)
    assert torch.equal(new, weight[:, kept]) and figures["repaired"] == 0.0


@pytest.mark.parametrize("dead", [0, 20])
def test_features_that_are_never_active_do_no_harm(dead):
    x, weight, kept = some(100, 24) @ some(24, 24, seed=4), some(4, 24, seed=1), first(24, 16)
    x[:, dead] = 0
    moment = second_moment(x)
    new, figures = repair_columns(weight, kept, moment, moment)
    assert new.isfinite().all() and figures["repaired_error"] < figures["deleted_error"]
    if dead == 0:
        torch.testing.assert_close(new[:, 0], weight[:, 0], atol=1e-4, rtol=1e-4)


def test_inputs_that_are_all_zero_leave_the_deletion():
    weight, kept = some(4, 10), first(10, 6)
    new, figures = repair_columns(weight, kept, torch.zeros(10, 10), torch.zeros(10, 10))
    assert torch.equal(new, weight[:, kept]) and figures == {
        "deleted_error": 0.0,
        "repaired_error": 0.0,
        "repaired": 0.0,
    }
