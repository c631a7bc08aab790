"""Rounding that passes errors on stays on the grid and disturbs outputs less."""

import pytest
import torch

from birdbone.algo.gptq import (
    compensation,
    refine,
    round_best,
    round_compensated,
    round_nearest,
    round_searched,
)
from birdbone.algo.grids import BLOCK, GRIDS
from birdbone.algo.moments import output_error, second_moment
from birdbone.errors import NumericalError

WIDE = 256
grids = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
coarse = pytest.mark.parametrize(
    "grid", [g for g in GRIDS.values() if g.bits_per_weight < 8], ids=lambda g: g.name
)


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(24, WIDE, generator=generator)
    x = torch.randn(1800, 24, generator=generator) @ mix + 0.3 * torch.randn(
        1800, WIDE, generator=generator
    )
    weight = 0.1 * torch.randn(16, WIDE, generator=generator)
    return weight, second_moment(x[:1200]), second_moment(x[1200:])


@grids
def test_weights_are_levels_times_their_blocks_scale(grid, case):
    weight, moment, check = case
    for found in (
        round_nearest(weight, grid),
        round_compensated(weight, compensation(moment), grid),
    ):
        assert found.codes.dtype == torch.uint8 and found.codes.max() < len(grid.levels)
        assert found.scales.shape == (16, WIDE // grid.block)
        assert torch.equal(found.scales, grid.representable(found.scales))
        levels = torch.tensor(grid.levels, dtype=torch.float32)[found.codes.long()]
        assert torch.equal(found.weight, levels * found.scales.repeat_interleave(grid.block, 1))


@grids
def test_packed_bytes_stand_for_the_returned_weights(grid, case):
    weight, moment, _ = case
    for found in (
        round_nearest(weight, grid),
        round_compensated(weight, compensation(moment), grid),
    ):
        assert torch.equal(grid.dequantize(grid.pack(found.codes, found.scales)), found.weight)


@coarse
def test_outputs_are_nearer_than_with_nearest_rounding(grid, case):
    weight, moment, check = case
    errors = [
        output_error(found.weight - weight, check)
        for found in (
            round_compensated(weight, compensation(moment), grid),
            round_nearest(weight, grid),
        )
    ]
    assert errors[0] < 0.7 * errors[1]


@coarse
def test_refitting_scales_and_codes_only_ever_lowers_the_error_it_is_given(grid, case):
    weight, moment, _ = case
    given = compensation(moment, 0.1)
    rounded = round_compensated(weight, given, grid)
    found = refine(weight, rounded, given.moment, grid)
    errors = [output_error(r.weight - weight, given.moment) for r in (rounded, found)]
    assert errors[0] > errors[1]
    assert torch.equal(grid.dequantize(grid.pack(found.codes, found.scales)), found.weight)


def test_a_refitted_scale_is_the_least_squares_solution_of_its_row(case):
    weight, moment, _ = case
    grid = GRIDS["Q4_0"]
    found = refine(weight, round_nearest(weight, grid), moment, grid)
    levels = (found.codes[0].double() - 8).view(-1, BLOCK)
    basis = torch.block_diag(*levels[:, None])  # [8, 256]: what each scale multiplies
    exact = torch.linalg.solve(
        basis @ moment.double() @ basis.T, basis @ moment.double() @ weight[0].double()
    )
    assert torch.allclose(found.scales[0].double(), exact, rtol=2e-3)


def test_refining_keeps_what_is_masked_and_a_row_of_zeros(case):
    weight, moment, _ = case
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    mask[3] = False
    rounded = round_compensated(weight * mask, compensation(moment), GRIDS["Q4_0"], mask=mask)
    for found in (
        rounded,
        refine(weight * mask, rounded, compensation(moment).moment, GRIDS["Q4_0"], mask),
    ):
        assert (found.weight[~mask] == 0).all() and found.weight.isfinite().all()


@grids
def test_uncorrelated_inputs_leave_nothing_to_pass_on(grid, case):
    weight = case[0]
    found = round_compensated(weight, compensation(torch.eye(WIDE)), grid)
    scales = grid.representable(grid.scales(weight.reshape(-1, grid.block)).reshape(16, -1))
    assert torch.equal(found.scales, scales)
    assert torch.equal(found.codes, grid.nearest(weight, scales.repeat_interleave(grid.block, 1)))


@pytest.mark.parametrize("grid", [g for g in GRIDS.values() if g.has_zero], ids=lambda g: g.name)
def test_masked_entries_are_exactly_zero(grid, case):
    weight, moment, check = case
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    weight = weight * mask
    for found in (
        round_compensated(weight, compensation(moment), grid, mask=mask),
        round_best(weight, [compensation(moment)], check, grid, mask=mask)[0],
    ):
        assert (found.weight[~mask] == 0).all() and (found.weight[mask] != 0).float().mean() > 0.5


def test_masked_entries_take_part_in_nothing_but_stay_compensated(case):
    weight, moment, check = case
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    found = round_compensated(weight * mask, compensation(moment), GRIDS["Q4_0"], mask=mask)
    plain = round_nearest(weight * mask, GRIDS["Q4_0"])
    assert output_error(found.weight - weight * mask, check) < output_error(
        plain.weight - weight * mask, check
    )


@coarse
def test_the_best_is_never_worse_than_plain_rounding_on_held_out_tokens(grid, case):
    weight, moment, check = case
    shuffled = moment[torch.randperm(WIDE, generator=torch.Generator().manual_seed(2))]
    for fit in (moment, shuffled @ shuffled.T):
        best, _ = round_best(weight, [compensation(fit)], check, grid)
        assert output_error(best.weight - weight, check) <= output_error(
            round_searched(weight, grid).weight - weight, check
        )


@grids
def test_a_singular_moment_is_saved_by_damping(grid, case):
    one = torch.ones(1, WIDE)
    for moment in (one.T @ one, torch.zeros(WIDE, WIDE)):
        found = round_compensated(case[0], compensation(moment), grid)
        assert found.weight.isfinite().all() and (found.weight - case[0]).abs().max() < 1


def test_a_dead_input_does_not_spoil_its_block(case):
    weight, moment, check = case
    moment = moment.clone()
    moment[5], moment[:, 5] = 0, 0
    found, nearest = (
        round_compensated(weight, compensation(moment), GRIDS["Q4_0"]),
        round_nearest(weight, GRIDS["Q4_0"]),
    )
    assert output_error(found.weight - weight, moment) < output_error(
        nearest.weight - weight, moment
    )


@pytest.mark.parametrize(
    "moment", [-torch.eye(WIDE), torch.full((WIDE, WIDE), float("nan"))], ids=["negative", "nan"]
)
def test_a_moment_that_cannot_be_factorized_is_a_numerical_error(moment, case):
    with pytest.raises(NumericalError, match="damping"):
        round_compensated(case[0], compensation(moment), GRIDS["Q4_0"])


def test_zero_weights_stay_zero(case):
    zeros = torch.zeros(4, WIDE)
    for grid in GRIDS.values():
        assert not round_compensated(zeros, compensation(case[1]), grid).weight.any()


def test_the_order_of_rounding_begins_with_the_most_power():
    given = compensation(torch.diag(torch.tensor([1.0, 9.0, 4.0])), order="power")
    assert given.order.tolist() == [1, 2, 0] and given.power.tolist() == [9, 4, 1]


@coarse
def test_of_two_orders_the_better_is_kept(grid, case):
    weight, moment, check = case
    skewed = torch.linspace(0.2, 5, WIDE)
    moment, check = skewed[:, None] * moment * skewed, skewed[:, None] * check * skewed
    orders = [compensation(moment, order=order) for order in ("natural", "power")]
    errors = [
        output_error(round_compensated(weight, o, grid).weight - weight, check) for o in orders
    ]
    assert errors[0] != errors[1]
    best, [by] = round_best(weight, orders, check, grid)
    assert output_error(best.weight - weight, check) <= min(errors)
    again, _ = round_best(weight, [by], check, grid)
    assert torch.equal(again.codes, best.codes)


@pytest.mark.parametrize("order", ["natural", "power"])
def test_what_scaled_inputs_say_needs_no_new_factors(order):
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(200, 64, generator=generator)
    columns = torch.randn(64, generator=generator).exp()
    before = compensation(x.T @ x, 0.1, order)
    found, columns_first = before.scaled(columns), (x / columns)[:, before.order]
    expected = compensation(columns_first.T @ columns_first, 0.1)
    torch.testing.assert_close(found.factor, expected.factor, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.power, expected.power)
    torch.testing.assert_close(
        found.moment[before.order][:, before.order], expected.moment, atol=1e-3, rtol=1e-3
    )
