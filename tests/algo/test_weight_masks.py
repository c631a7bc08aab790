"""Masks inside a matrix: exact sparsity, N:M everywhere, and SparseGPT as its paper has it."""

import pytest
import torch

from birdbone.algo.moments import damped, inverse_factor, output_error, second_moment
from birdbone.algo.topk_mask import keep_largest
from birdbone.algo.weight_masks import SOLVERS, mask_weight, saliency
from birdbone.errors import NumericalError

METHODS = ("magnitude", "wanda", *SOLVERS)
BY_EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


def correlated(columns: int = 96, rows: int = 24, tokens: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight [rows, columns] and the second moment of inputs that lean on one another."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(columns // 4, columns, generator=generator)
    x = torch.randn(tokens, columns // 4, generator=generator) @ mix
    x = x + 0.3 * torch.randn(x.shape, generator=generator)
    return torch.randn(rows, columns, generator=generator), second_moment(x)


@BY_EVERY_METHOD
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.75])
def test_sparsity_is_exact_and_masked_entries_are_zero(method, sparsity):
    weight, moment = correlated(columns=160)
    mask, new = mask_weight(weight, moment, method, sparsity)
    assert (~mask).sum() == round(sparsity * weight.numel())
    assert (new[~mask] == 0).all() and new.isfinite().all()
    if method == "wanda":
        assert ((~mask).sum(1) == round(sparsity * weight.shape[1])).all()


@BY_EVERY_METHOD
@pytest.mark.parametrize("pattern", [(2, 4), (1, 4), (4, 8), (3, 12), (40, 160)])
def test_every_group_keeps_n_of_m(method, pattern):
    n, m = pattern
    weight, moment = correlated(columns=480)
    mask, new = mask_weight(weight, moment, method, 0.5, pattern)
    assert (mask.reshape(len(weight), -1, m).sum(-1) == n).all()
    assert (new[~mask] == 0).all()


def test_magnitude_and_wanda_only_remove():
    weight, moment = correlated()
    for method in ("magnitude", "wanda"):
        mask, new = mask_weight(weight, moment, method, 0.5)
        assert torch.equal(new, weight * mask)


def test_magnitude_drops_the_smallest_of_the_whole_matrix():
    weight, moment = correlated()
    mask, _ = mask_weight(weight, moment, "magnitude", 0.5)
    assert weight[mask].abs().min() >= weight[~mask].abs().max()


def test_wanda_weighs_by_the_inputs_norm():
    weight, moment = torch.ones(3, 8), torch.diag(torch.tensor([4.0, 1, 9, 2, 16, 3, 25, 5]))
    mask, _ = mask_weight(weight, moment, "wanda", 0.5)
    assert mask.int().tolist() == [[0, 0, 1, 0, 1, 0, 1, 1]] * 3


def test_equal_scores_are_still_cut_exactly():
    assert keep_largest(torch.ones(4, 8), 0.25, None, per_row=False).sum() == 24
    assert (keep_largest(torch.ones(4, 8), 0.0, (2, 4), per_row=True).sum(1) == 4).all()


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_solvers_disturb_outputs_less_than_magnitude_and_wanda(pattern):
    weight, moment = correlated()
    errors = {}
    for method in METHODS:
        _, new = mask_weight(weight, moment, method, 0.5, pattern)
        errors[method] = output_error(new - weight, moment)
    assert errors["sparsegpt"] < 0.5 * min(errors["magnitude"], errors["wanda"])
    assert errors["admm"] < errors["sparsegpt"]


def test_admm_comes_close_to_the_least_squares_of_its_own_mask():
    weight, moment = correlated()
    mask, new = mask_weight(weight, moment, "admm", 0.5)
    full = damped(moment, 0.01)
    best = torch.zeros_like(weight)
    for row, kept in enumerate(mask):
        best[row, kept] = torch.linalg.solve(full[kept][:, kept], full[kept] @ weight[row])
    least = output_error(best - weight, full)
    assert least <= output_error(new - weight, full) < 1.4 * least


def by_the_paper(weight, moment, sparsity, pattern, damping, block):
    """Optimal brain surgery column by column, the inverse of what is left worked out afresh each time."""
    hessian, w = damped(moment, damping).double(), weight.double().clone()
    rows, columns = w.shape
    inverses = [torch.linalg.inv(hessian[j:, j:]) for j in range(columns)]
    power = torch.stack([inverse[0, 0] for inverse in inverses])
    mask = torch.ones_like(w, dtype=torch.bool)
    step = pattern[1] if pattern else block
    for j in range(columns):
        if j % step == 0:
            stop = min(j + step, columns)
            score = w[:, j:stop].square() / power[j:stop]
            if pattern:
                worst = score.argsort(1)[:, : pattern[1] - pattern[0]]
                mask[:, j:stop] = mask[:, j:stop].scatter(1, worst, False)
            else:
                drop = round(sparsity * score.numel())
                flat = torch.ones(score.numel(), dtype=torch.bool)
                flat[score.flatten().argsort()[:drop]] = False
                mask[:, j:stop] = flat.view(rows, -1)
        wrong = torch.where(mask[:, j], 0.0, w[:, j])
        w[:, j:] -= torch.outer(wrong / power[j], inverses[j][0])
    return mask, torch.where(mask, w, 0.0)


@pytest.mark.parametrize(("sparsity", "pattern"), [(0.5, None), (0.7, None), (0.0, (2, 4)), (0.0, (3, 12))])
def test_sparsegpt_is_the_papers_algorithm(sparsity, pattern):
    weight, moment = correlated(columns=192)
    mask, new = mask_weight(weight, moment, "sparsegpt", sparsity, pattern, damping=0.05)
    expected_mask, expected = by_the_paper(weight, moment, sparsity, pattern, 0.05, block=128)
    assert (mask == expected_mask).float().mean() > 0.999
    rows = (mask == expected_mask).all(1)
    assert rows.float().mean() > 0.9
    torch.testing.assert_close(new[rows], expected[rows].float(), atol=2e-3, rtol=2e-3)


def test_the_factor_is_that_of_the_damped_inverse():
    _, moment = correlated()
    factor = inverse_factor(moment, 0.01)
    assert torch.equal(factor, factor.triu())
    product = factor.double().T @ factor.double() @ damped(moment, 0.01).double()
    torch.testing.assert_close(product, torch.eye(96, dtype=torch.float64), atol=1e-3, rtol=0)


def test_a_singular_moment_is_saved_by_damping():
    weight, _ = correlated()
    one = torch.ones(1, 96)
    for moment in (one.T @ one, torch.zeros(96, 96)):
        mask, new = mask_weight(weight, moment, "sparsegpt", 0.5)
        assert new.isfinite().all() and (~mask).sum() == weight.numel() // 2


@pytest.mark.parametrize("moment", [-torch.eye(96), torch.full((96, 96), float("nan"))], ids=["negative", "nan"])
def test_a_moment_that_cannot_be_factorized_is_a_numerical_error(moment):
    with pytest.raises(NumericalError, match="second moment of 96 inputs.*damping"):
        mask_weight(correlated()[0], moment, "sparsegpt", 0.5)


def test_a_weights_saliency_is_the_error_that_its_removal_leaves():
    weight, moment = correlated(columns=32, rows=3)
    exact = saliency(weight, moment, "sparsegpt", damping=1e-6)
    row, column = 1, 7
    others = [c for c in range(32) if c != column]
    inner, cross = moment[others][:, others].double(), moment[others][:, column].double()
    shift = torch.linalg.solve(inner, cross) * weight[row, column].double()
    change = torch.zeros(1, 32, dtype=torch.float64)
    change[0, others], change[0, column] = shift, -weight[row, column].double()
    assert exact[row, column].item() == pytest.approx(output_error(change, moment), rel=0.02)
    assert (exact <= saliency(weight, moment, "wanda") * 1.001).all()
