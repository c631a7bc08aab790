"""The paired bootstrap: right in the middle, honest in width, the same every time."""

import math

import numpy as np
import pytest
import torch

from birdbone.algo.bootstrap import mean_interval, ratio_interval


@pytest.fixture
def documents():
    generator = np.random.default_rng(7)
    counts = generator.integers(50, 400, size=40)
    before = counts * generator.normal(3.5, 0.4, size=40)
    after = before + counts * generator.normal(0.02, 0.05, size=40)
    return before, after, counts


def test_the_change_is_the_ratio_of_the_corpus_perplexities(documents):
    before, after, counts = documents
    change, low, high = ratio_interval(before, after, counts)
    expected = math.exp(after.sum() / counts.sum()) / math.exp(before.sum() / counts.sum()) - 1
    assert change == pytest.approx(expected, rel=1e-12)
    assert low < change < high


def test_equal_models_change_nothing_and_leave_no_doubt(documents):
    before, _, counts = documents
    assert ratio_interval(before, before, counts) == (0.0, 0.0, 0.0)


def test_a_shift_shared_by_every_document_has_no_width_because_documents_are_paired(documents):
    before, _, counts = documents
    change, low, high = ratio_interval(before, before + 0.1 * counts, counts)
    assert change == pytest.approx(math.expm1(0.1))
    assert high - low < 1e-12


def test_swapping_the_models_mirrors_the_change(documents):
    before, after, counts = documents
    there, back = ratio_interval(before, after, counts), ratio_interval(after, before, counts)
    assert (1 + there[0]) * (1 + back[0]) == pytest.approx(1)
    assert (1 + there[1]) * (1 + back[2]) == pytest.approx(1, abs=1e-3)


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_so(documents):
    first, again, other = (ratio_interval(*documents, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[1:] == pytest.approx(other[1:], abs=0.004)


def test_the_interval_narrows_with_more_documents():
    generator = np.random.default_rng(0)
    few, many = generator.normal(size=20), generator.normal(size=2000)
    width = [high - low for _, low, high in (mean_interval(few), mean_interval(many))]
    assert width[1] < width[0] / 5


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        _, low, high = mean_interval(generator.normal(1.0, 1.0, size=60), resamples=400, seed=trial)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_mean_over_tokens_weighs_documents_by_their_length():
    mean, low, high = mean_interval([10.0, 300.0], counts=[10, 100])
    assert mean == pytest.approx(310 / 110)
    assert (low, high) == (1.0, 3.0)


def test_tensors_are_taken_as_well():
    values = torch.tensor([1.0, 2.0, 3.0])
    assert mean_interval(values) == mean_interval([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1.0], [1.0], [1]), "at least two documents"),
        (([1.0, 2.0], [1.0], [1, 1]), r"lengths \[2, 1, 2\]"),
        (([1.0, math.nan], [1.0, 1.0], [1, 1]), "not finite"),
        (([1.0, 2.0], [1.0, 1.0], [1, 0]), "without tokens"),
    ],
)
def test_what_cannot_be_resampled_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        ratio_interval(*columns)
