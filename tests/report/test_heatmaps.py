"""Heatmaps show the shares and ranks of the data."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from birdbone.report.heatmaps import bin_shares, importance_heatmap, mask_heatmap


def test_a_mask_heatmap_holds_the_share_kept_per_bin():
    first = torch.ones(64, dtype=torch.bool)
    first[:16] = False
    figure = mask_heatmap({1: torch.ones(64, dtype=torch.bool), 0: first}, bins=4)
    assert list(figure.data[0].y) == [0, 1]
    assert [list(row) for row in figure.data[0].z] == [[0, 1, 1, 1], [1, 1, 1, 1]]


def test_a_mask_narrower_than_the_bins_is_shown_neuron_by_neuron():
    assert bin_shares([1, 0, 1], bins=64) == [1, 0, 1]


def test_binning_what_is_binned_changes_nothing():
    shares = bin_shares(np.arange(640) % 3 > 0, bins=64)
    assert bin_shares(shares, bins=64) == shares


def test_the_importance_heatmap_ranks_layers_against_the_whole_model_at_any_scale():
    scores = {0: np.linspace(-5, -1, 200), 1: np.linspace(100, 1e6, 200)}
    low, high = importance_heatmap(scores).data[0].z
    assert max(low) <= min(high)
    assert list(low) == sorted(low)
    quantiles = {layer: np.quantile(row, np.linspace(0, 1, 21)) for layer, row in scores.items()}
    assert importance_heatmap(quantiles).data[0].z == (low, high)


@pytest.mark.parametrize("empty", [mask_heatmap({}), importance_heatmap({})])
def test_nothing_to_show_is_an_empty_figure(empty):
    assert isinstance(empty, go.Figure)
    assert empty.to_json()
