"""The frontier shows the files by size and perplexity."""

import plotly.graph_objects as go
import pytest

from birdbone.report.frontier import frontier


def test_the_frontier_joins_only_files_that_nothing_beats(report):
    figure = frontier(report.files)
    assert list(figure.data[0].x) == pytest.approx([84.1, 98.4])
    assert len(figure.layout.annotations) == len(report.files)


def test_the_frontier_uses_the_domains_all_files_share():
    files = [
        {"name": "a", "role": "ours", "bytes": 10_000_000, "perplexity": {"x": 4.0, "y": 9.0}},
        {"name": "b", "role": "seed", "bytes": 20_000_000, "perplexity": {"x": 2.0}},
    ]
    assert frontier(files).data[1].y == (pytest.approx(4.0),)


def test_names_of_files_are_escaped(report):
    figure = frontier([row | {"name": "<b onclick=x>"} for row in report.files])
    assert "<b onclick" not in str(figure.to_dict())
    assert "&lt;b onclick" in str(figure.to_dict())


def test_nothing_to_show_is_an_empty_figure():
    assert isinstance(frontier([]), go.Figure)
    assert frontier([]).to_json()
