"""Charts that only the report shows say what the data says."""

import plotly.graph_objects as go
import pytest

from birdbone.report import charts


def test_widths_stack_kept_and_removed_up_to_the_seed(report):
    kept, removed = charts.width_chart(report.layers).data[:2]
    assert {k + r for k, r in zip(kept.y, removed.y, strict=True)} == {1536}


def test_the_change_chart_leaves_out_the_control_where_none_was_run():
    figure = charts.change_chart([{"domain": "d", "before": 2.0, "after": 2.2, "change": 0.1}])
    assert [trace.name for trace in figure.data] == ["export against seed"]
    assert figure.data[0].x == (pytest.approx(10.0),)


@pytest.mark.parametrize("never", [None, float("inf"), float("-inf")])
def test_a_feature_that_never_dies_is_a_cluster_on_the_edge(never):
    figure = charts.persistence_diagram([[1.0, 0.9], [0.8, 0.1], [0.95, never]], threshold=0.3)
    groups = {trace.name: trace for trace in figure.data if trace.name}
    assert list(groups["cluster"].x) == [0.8, 0.95]
    assert groups["cluster"].y[1] < 0.1
    assert groups["cluster"].text[1] == "never"
    assert list(groups["noise"].x) == [1.0]


def test_no_points_are_an_empty_persistence_diagram():
    figure = charts.persistence_diagram([])
    assert isinstance(figure, go.Figure)
    assert figure.to_json()


def test_names_of_domains_are_escaped(report):
    hostile = "<b onclick=x>"
    drawn = [
        charts.change_chart([row | {"domain": hostile} for row in report.domains]),
        charts.canary_chart([row | {"domain": hostile} for row in report.canaries]),
    ]
    for figure in drawn:
        assert "<b onclick" not in str(figure.to_dict())
        assert "&lt;b onclick" in str(figure.to_dict())
