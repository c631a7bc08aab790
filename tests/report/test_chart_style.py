"""Labels in charts."""

import numpy as np

from birdbone.report.chart_style import label_places


def test_labels_of_crowded_points_keep_apart(report):
    xs = np.log([84.1, 270.9, 98.4, 144.8, 105.4, 91.9, 91.7])
    offsets = label_places(xs, [34.9, 34.2, 34.2, 34.21, 35.3, 38.8, 42.8])
    unit = (xs - xs.min()) / (xs.max() - xs.min())
    places = [
        (190 * u + dx, -230 * (p - 34.2) / 8.6 + dy)
        for u, p, (dx, dy) in zip(
            unit, [34.9, 34.2, 34.2, 34.21, 35.3, 38.8, 42.8], offsets, strict=True
        )
    ]
    for i, one in enumerate(places):
        for other in places[i + 1 :]:
            assert abs(one[0] - other[0]) >= 92 or abs(one[1] - other[1]) >= 18
