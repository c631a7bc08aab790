"""The charts show what the data says: values, order, escaping, odd input."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from birdbone.report import charts, figures


def test_a_mask_heatmap_holds_the_share_kept_per_bin():
    first = torch.ones(64, dtype=torch.bool)
    first[:16] = False
    figure = figures.mask_heatmap({1: torch.ones(64, dtype=torch.bool), 0: first}, bins=4)
    assert list(figure.data[0].y) == [0, 1]
    assert [list(row) for row in figure.data[0].z] == [[0, 1, 1, 1], [1, 1, 1, 1]]


def test_a_mask_narrower_than_the_bins_is_shown_neuron_by_neuron():
    assert figures.bin_shares([1, 0, 1], bins=64) == [1, 0, 1]


def test_binning_what_is_binned_changes_nothing():
    shares = figures.bin_shares(np.arange(640) % 3 > 0, bins=64)
    assert figures.bin_shares(shares, bins=64) == shares


def test_the_importance_heatmap_ranks_layers_against_the_whole_model_at_any_scale():
    scores = {0: np.linspace(-5, -1, 200), 1: np.linspace(100, 1e6, 200)}
    low, high = figures.importance_heatmap(scores).data[0].z
    assert max(low) <= min(high)
    assert list(low) == sorted(low)
    quantiles = {layer: np.quantile(row, np.linspace(0, 1, 21)) for layer, row in scores.items()}
    assert figures.importance_heatmap(quantiles).data[0].z == (low, high)


def test_the_wave_chart_colours_by_verdict_and_draws_the_limit(report):
    waves = [*report.waves, {"wave": 3, "verdict": "reverted", "delta": 0.2}]
    figure = figures.wave_chart(waves, limit=0.03)
    line = figure.data[0]
    assert list(line.y) == pytest.approx([0.73, 2.01, 20.0])
    assert line.marker.color[0] == line.marker.color[1] != line.marker.color[2]
    assert list(line.error_y.array) == pytest.approx([0.58, 0.96, 0])
    assert figure.layout.shapes[0].y0 == pytest.approx(3.0)


def test_a_wave_without_a_figure_leaves_a_gap():
    figure = figures.wave_chart([{"wave": 1, "verdict": "stopped"}])
    assert figure.data[0].y == (None,)


def test_healing_has_one_pair_of_lines_per_wave(report):
    figure = figures.healing_curve(report.healing)
    assert [trace.name for trace in figure.data if trace.name] == ["wave 1", "wave 2"]
    raw, smooth = figure.data[0].y, figure.data[1].y
    assert smooth[0] == pytest.approx(raw[0])
    assert np.std(np.diff(smooth)) < np.std(np.diff(raw))


def test_check_text_has_points_of_its_own_and_the_kept_one_stands_out(report):
    figure = figures.healing_curve(report.healing, report.healing_checks)
    points = [trace for trace in figure.data if trace.name and "check" in trace.name]
    assert [trace.name for trace in points] == ["wave 1, check text", "wave 2, check text"]
    assert list(points[0].x) == [0, 20, 40] and list(points[0].y) == [0.2, 0.11, 0.12]
    assert points[0].marker.size[1] > points[0].marker.size[0] == points[0].marker.size[2]


@pytest.mark.parametrize("never", [None, float("inf"), float("-inf")])
def test_a_feature_that_never_dies_is_a_cluster_on_the_edge(never):
    figure = figures.persistence_diagram([[1.0, 0.9], [0.8, 0.1], [0.95, never]], threshold=0.3)
    groups = {trace.name: trace for trace in figure.data if trace.name}
    assert list(groups["cluster"].x) == [0.8, 0.95]
    assert groups["cluster"].y[1] < 0.1
    assert groups["cluster"].text[1] == "never"
    assert list(groups["noise"].x) == [1.0]


def test_the_frontier_joins_only_files_that_nothing_beats(report):
    figure = figures.frontier(report.files)
    assert list(figure.data[0].x) == pytest.approx([84.1, 98.4])
    assert len(figure.layout.annotations) == len(report.files)


def test_the_frontier_uses_the_domains_all_files_share():
    files = [
        {"name": "a", "role": "ours", "bytes": 10_000_000, "perplexity": {"x": 4.0, "y": 9.0}},
        {"name": "b", "role": "seed", "bytes": 20_000_000, "perplexity": {"x": 2.0}},
    ]
    assert figures.frontier(files).data[1].y == (pytest.approx(4.0),)


def test_names_are_escaped_in_charts(report):
    hostile = "<b onclick=x>"
    drawn = [
        figures.frontier([row | {"name": hostile} for row in report.files]),
        charts.change_chart([row | {"domain": hostile} for row in report.domains]),
        charts.canary_chart([row | {"domain": hostile} for row in report.canaries]),
        figures.wave_chart([row | {"verdict": hostile} for row in report.waves]),
    ]
    for figure in drawn:
        assert "<b onclick" not in str(figure.to_dict())
        assert "&lt;b onclick" in str(figure.to_dict())


@pytest.mark.parametrize(
    "empty",
    [
        figures.mask_heatmap({}),
        figures.importance_heatmap({}),
        figures.wave_chart([]),
        figures.healing_curve([]),
        figures.persistence_diagram([]),
        figures.frontier([]),
    ],
)
def test_nothing_to_show_is_an_empty_figure(empty):
    assert isinstance(empty, go.Figure)
    assert empty.to_json()
