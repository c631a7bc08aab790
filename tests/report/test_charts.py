"""Bar charts show what the data says."""

import pytest

from birdbone.report import charts


def test_widths_stack_kept_and_removed_up_to_the_seed(report):
    kept, removed = charts.width_chart(report.layers).data[:2]
    assert {k + r for k, r in zip(kept.y, removed.y, strict=True)} == {1536}


def test_the_change_chart_leaves_out_the_control_where_none_was_run():
    figure = charts.change_chart([{"domain": "d", "before": 2.0, "after": 2.2, "change": 0.1}])
    assert [trace.name for trace in figure.data] == ["export against seed"]
    assert figure.data[0].x == (pytest.approx(10.0),)
