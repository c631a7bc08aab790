"""File size against perplexity, with the line of the files that no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from birdbone.report.chart_style import (
    CONTROL,
    INK,
    OURS,
    PEER,
    RULE,
    SEED,
    dressed,
    label_places,
    ticks,
)
from birdbone.report.data import File


def frontier(points: Sequence[File]) -> go.Figure:
    """File size against perplexity (geometric mean over the domains all files were measured on).

    The line joins the files that no other beats in both.
    """
    points = [row for row in points if row.get("perplexity")]
    domains = set.intersection(*(set(row["perplexity"]) for row in points)) if points else set()
    figure = go.Figure()
    if not domains:
        return dressed(figure, 400)
    xs = [row["bytes"] / 1e6 for row in points]
    ys = [_geometric_mean([row["perplexity"][d] for d in sorted(domains)]) for row in points]
    best = _undominated(xs, ys)
    figure.add_scatter(
        x=[xs[i] for i in best],
        y=[ys[i] for i in best],
        mode="lines",
        showlegend=False,
        line={"color": RULE, "width": 2},
        hoverinfo="skip",
    )
    colours = {"ours": OURS, "seed": SEED, "trimmed": SEED, "source": CONTROL, "peer": PEER}
    for row, x, y in zip(points, xs, ys, strict=True):
        ours = row["role"] == "ours"
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers",
            name=escape(row["name"]),
            marker={
                "size": 16 if ours else 11,
                "color": colours[row["role"]],
                "symbol": "star" if ours else "circle",
            },
            hovertemplate=f"{escape(row['name'])}<br>"
            "%{x:.1f} MB, perplexity %{y:.2f}<extra></extra>",
            showlegend=False,
        )
    offsets = label_places(np.log(xs), ys)
    for x, y, row, (dx, dy) in zip(xs, ys, points, offsets, strict=True):
        figure.add_annotation(
            x=np.log10(x),
            y=y,
            text=escape(row["name"]),
            showarrow=True,
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=RULE,
            ax=dx,
            ay=dy,
            font={"size": 12, "color": INK},
        )
    figure.update_xaxes(
        type="log",
        tickvals=ticks(xs),
        ticktext=[f"{t:g}" for t in ticks(xs)],
        range=[np.log10(min(xs) * 0.74), np.log10(max(xs) * 1.16)],
    )
    span = (max(ys) - min(ys)) or 1.0
    figure.update_yaxes(range=[min(ys) - 0.22 * span, max(ys) + 0.22 * span])
    return dressed(figure, 420, "file size (MB, log scale)", "perplexity")


def _geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean([np.log(x) for x in values])))


def _undominated(xs: Sequence[float], ys: Sequence[float]) -> list[int]:
    """Places, by rising x, that no other point beats in both."""
    best = []
    lowest = np.inf
    for place in sorted(range(len(xs)), key=lambda i: (xs[i], ys[i])):
        if ys[place] < lowest:
            best.append(place)
            lowest = ys[place]
    return best
