"""Second moments, their damping, and the output error they stand for."""

import pytest
import torch

from birdbone.algo.moments import damped, inverse_factor, output_error, second_moment


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_output_error_is_that_of_the_inputs_behind_the_moment():
    x, change = some(40, 12), some(5, 12, seed=1)
    expected = (x @ change.T).square().sum().item()
    assert output_error(change, second_moment(x)) == pytest.approx(expected, rel=1e-5)


def test_moments_of_parts_add_up():
    x = some(40, 12)
    torch.testing.assert_close(second_moment(x[:7]) + second_moment(x[7:]), second_moment(x))


def test_a_moment_of_any_width_is_whole():
    for width in (1, 2, 5, 37):
        x = some(50, width)
        found = second_moment(x)
        torch.testing.assert_close(found, x.T @ x)
        torch.testing.assert_close(found, found.T)


def test_the_inverse_factor_is_upper_and_multiplies_to_the_inverse():
    moment = second_moment(some(60, 9))
    factor = inverse_factor(moment, 0.1)
    assert torch.equal(factor, factor.triu()) and (factor.diagonal() > 0).all()
    torch.testing.assert_close(
        factor.T @ factor @ damped(moment, 0.1), torch.eye(9), atol=1e-4, rtol=0
    )


def test_half_precision_inputs_are_summed_in_float32():
    x = torch.full((5000, 2), 10.0, dtype=torch.float16)
    assert second_moment(x).dtype == torch.float32 and second_moment(x)[0, 1] == 500_000


def test_a_tokens_weight_counts_it_that_often():
    x = some(4, 3)
    weights = torch.tensor([0.0, 1.0, 2.0, 0.0])
    torch.testing.assert_close(second_moment(x, weights), second_moment(x[[1, 2, 2]]))


def test_the_weighted_output_error_is_the_sum_of_weighted_errors():
    x, change, weights = some(40, 12), some(5, 12, seed=1), some(40, seed=2).square()
    expected = (weights[:, None] * (x @ change.T).square()).sum().item()
    assert output_error(change, second_moment(x, weights)) == pytest.approx(expected, rel=1e-5)


def test_damping_raises_each_diagonal_by_its_own_share():
    moment = second_moment(some(40, 6))
    added = damped(moment, 0.01) - moment
    torch.testing.assert_close(added, torch.diag(0.01 * moment.diagonal()), atol=1e-4, rtol=1e-3)


def test_a_dead_feature_gets_the_mean_diagonal():
    x = some(40, 6)
    x[:, 2] = 0
    moment = second_moment(x)
    found = damped(moment, 0.01)
    assert found[2, 2] == pytest.approx(moment.diagonal().mean().item(), rel=1e-5)
    assert torch.linalg.cholesky_ex(found).info == 0


def test_bfloat16_inputs_lose_nothing_more():
    x = torch.randn(512, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    before = torch.backends.mkldnn.matmul.fp32_precision
    found = second_moment(x)
    assert found.dtype == torch.float32 and torch.backends.mkldnn.matmul.fp32_precision == before
    torch.testing.assert_close(found.double(), x.double().T @ x.double(), rtol=1e-5, atol=1e-3)
