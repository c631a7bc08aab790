"""Charts of the waves show the values, the verdicts and the limit."""

import numpy as np
import plotly.graph_objects as go
import pytest

from birdbone.report.wave_charts import healing_curve, wave_chart


def test_the_wave_chart_colours_by_verdict_and_draws_the_limit(report):
    waves = [*report.waves, {"wave": 3, "verdict": "reverted", "delta": 0.2}]
    figure = wave_chart(waves, limit=0.03)
    line = figure.data[0]
    assert list(line.y) == pytest.approx([0.73, 2.01, 20.0])
    assert line.marker.color[0] == line.marker.color[1] != line.marker.color[2]
    assert list(line.error_y.array) == pytest.approx([0.58, 0.96, 0])
    assert figure.layout.shapes[0].y0 == pytest.approx(3.0)


def test_a_wave_without_a_figure_leaves_a_gap():
    figure = wave_chart([{"wave": 1, "verdict": "stopped"}])
    assert figure.data[0].y == (None,)


def test_healing_has_one_pair_of_lines_per_wave(report):
    figure = healing_curve(report.healing)
    assert [trace.name for trace in figure.data if trace.name] == ["wave 1", "wave 2"]
    raw, smooth = figure.data[0].y, figure.data[1].y
    assert smooth[0] == pytest.approx(raw[0])
    assert np.std(np.diff(smooth)) < np.std(np.diff(raw))


def test_check_text_has_points_of_its_own_and_the_kept_one_stands_out(report):
    figure = healing_curve(report.healing, report.healing_checks)
    points = [trace for trace in figure.data if trace.name and "check" in trace.name]
    assert [trace.name for trace in points] == ["wave 1, check text", "wave 2, check text"]
    assert list(points[0].x) == [0, 20, 40] and list(points[0].y) == [0.2, 0.11, 0.12]
    assert points[0].marker.size[1] > points[0].marker.size[0] == points[0].marker.size[2]


def test_verdicts_are_escaped(report):
    figure = wave_chart([row | {"verdict": "<b onclick=x>"} for row in report.waves])
    assert "<b onclick" not in str(figure.to_dict())
    assert "&lt;b onclick" in str(figure.to_dict())


@pytest.mark.parametrize("empty", [wave_chart([]), healing_curve([])])
def test_nothing_to_show_is_an_empty_figure(empty):
    assert isinstance(empty, go.Figure)
    assert empty.to_json()
