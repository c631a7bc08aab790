"""Windows are cut to what a model has positions for."""

import torch

from birdbone.model.context import positions_of, within


def test_windows_that_fit_stay_as_they_are():
    windows = torch.arange(12).view(3, 4)
    assert torch.equal(within(windows, 4), windows)
    assert torch.equal(within(windows, 100), windows)


def test_longer_ones_are_cut_side_by_side_and_what_is_left_over_goes():
    assert within(torch.arange(14).view(2, 7), 3).tolist() == [
        [0, 1, 2],
        [3, 4, 5],
        [7, 8, 9],
        [10, 11, 12],
    ]


def test_positions_are_named_by_family():
    assert positions_of({"max_position_embeddings": 64}) == positions_of({"n_positions": 64}) == 64
