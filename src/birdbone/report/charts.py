"""Charts that only the report shows: domains, canaries, layers, clusters, persistence."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from birdbone.report.chart_style import BAD, CONTROL, OURS, PEER, RULE, SEED, bars, dressed
from birdbone.report.data import Canaries, Domain, Layer, value


def change_chart(domains: Sequence[Domain], limit: float | None = None) -> go.Figure:
    """Perplexity change against the seed per domain, with intervals: ours, control, and judged."""
    figure = go.Figure()
    rows = list(reversed(domains))
    names = [escape(row["domain"]) for row in rows]
    series = (
        ("control against seed", "control_change", CONTROL, 0.22, "diamond"),
        ("export against seed", "change", SEED, 0.0, "circle"),
        ("export against the better of the two", "judged_change", OURS, -0.22, "square"),
    )
    for name, key, colour, offset, symbol in series:
        measures = [row.get(key) for row in rows]
        if any(measure is not None for measure in measures):
            figure.add_scatter(
                x=[None if m is None else 100 * value(m) for m in measures],
                y=[place + offset for place in range(len(rows))],
                error_x=bars(measures, colour),
                mode="markers",
                name=name,
                marker={"size": 10, "color": colour, "symbol": symbol},
                text=names,
                hovertemplate="%{text}: %{x:+.2f} %<extra>" + name + "</extra>",
            )
    if limit is not None:
        figure.add_vline(100 * limit, line={"color": BAD, "dash": "dot", "width": 1.5})
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[-0.6, len(rows) - 0.4]
    )
    figure.update_xaxes(zeroline=True)
    return dressed(figure, 130 + 70 * len(rows), "perplexity change (%)")


def canary_chart(rows: Sequence[Canaries]) -> go.Figure:
    """Share of canaries answered right per domain: seed, control, export."""
    figure = go.Figure()
    series = (("before", "seed", SEED), ("control", "control", CONTROL), ("after", "export", OURS))
    for key, name, colour in series:
        shares = [row.get(key) for row in rows]
        if any(share is not None for share in shares):
            figure.add_bar(
                y=[escape(row["domain"]) for row in rows],
                orientation="h",
                x=[None if share is None else 100 * share for share in shares],
                name=name,
                marker={"color": colour},
                hovertemplate="%{y}: %{x:.0f} %<extra>" + name + "</extra>",
            )
    dressed(figure, 90 + 52 * len(rows), "right (%)")
    figure.update_xaxes(range=[0, 102])
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(barmode="group", bargap=0.4, bargroupgap=0.08)


def width_chart(layers: Sequence[Layer]) -> go.Figure:
    """FFN width and key-value groups kept per layer, over what the seed had."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12, row_heights=[0.68, 0.32]
    )
    numbers = [row["layer"] for row in layers]
    units = (("ffn_width", "neurons"), ("kv_groups", "groups"))
    for place, (key, unit) in enumerate(units, start=1):
        kept = [row[key] for row in layers]
        removed = [row[f"{key}_seed"] - row[key] for row in layers]
        for name, values, colour in (
            ("kept", kept, OURS),
            ("removed", removed, "rgba(200,85,61,0.35)"),
        ):
            figure.add_bar(
                x=numbers,
                y=values,
                name=name,
                marker={"color": colour},
                showlegend=place == 1,
                hovertemplate="layer %{x}: %{y} " + f"{unit} {name}<extra></extra>",
                row=place,
                col=1,
            )
    groups = max((row["kv_groups_seed"] for row in layers), default=1)
    dressed(figure, 420)
    figure.update_yaxes(title_text="FFN neurons", row=1, col=1)
    figure.update_yaxes(title_text="KV groups", dtick=max(1, groups // 3), row=2, col=1)
    figure.update_xaxes(title_text="layer", row=2, col=1)
    return figure.update_layout(barmode="stack", bargap=0.25)


def sparsity_chart(layers: Sequence[Layer]) -> go.Figure:
    """Per layer: share of FFN neurons removed, and of exact zeros among the weights that stay."""
    figure = go.Figure()
    numbers = [row["layer"] for row in layers]
    removed = [100 * (1 - row["ffn_width"] / row["ffn_width_seed"]) for row in layers]
    figure.add_bar(
        x=numbers,
        y=removed,
        name="neurons removed",
        marker={"color": OURS},
        hovertemplate="layer %{x}: %{y:.1f} %<extra></extra>",
    )
    zeros = [row.get("weight_sparsity") for row in layers]
    if any(zeros):
        figure.add_bar(
            x=numbers,
            y=[None if z is None else 100 * z for z in zeros],
            name="zero weights",
            marker={"color": SEED},
            hovertemplate="layer %{x}: %{y:.1f} %<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25, showlegend=True)
    figure.update_yaxes(rangemode="tozero")
    return dressed(figure, 280, "layer", "%")


def cluster_chart(clusters: Sequence[int]) -> go.Figure:
    """Number of clusters that topology found in each layer."""
    figure = go.Figure(
        go.Bar(
            x=list(range(len(clusters))),
            y=list(clusters),
            marker={"color": SEED},
            hovertemplate="layer %{x}: %{y} clusters<extra></extra>",
        )
    )
    return dressed(figure, 380, "layer", "clusters")


def persistence_diagram(
    points: Sequence[Sequence[float | None]], threshold: float | None = None
) -> go.Figure:
    """Birth against death of each density peak; far from the diagonal is a cluster.

    points: [birth, death]; a death of None or infinity never happens and is drawn on the edge.
    threshold: prominence |birth − death| above which a peak counts.
    """
    finite = [x for point in points for x in point if x is not None and np.isfinite(x)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    pad = 0.06 * ((high - low) or 1.0)
    descending = any(_dies(p) and p[1] < p[0] for p in points)
    edge = low - pad if descending else high + pad
    births = [point[0] for point in points]
    deaths = [point[1] if _dies(point) else edge for point in points]
    minimum = np.inf if threshold is None else threshold
    prominent = [not _dies(p) or abs(p[0] - p[1]) >= minimum for p in points]
    figure = go.Figure()
    ends = [low - pad, high + pad]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": RULE}, showlegend=False, hoverinfo="skip"
    )
    if threshold is not None:
        offset = -threshold if descending else threshold
        figure.add_scatter(
            x=ends,
            y=[end + offset for end in ends],
            mode="lines",
            name="threshold",
            line={"color": BAD, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
        )
    clusters = [i for i, is_cluster in enumerate(prominent) if is_cluster]
    noise = [i for i, is_cluster in enumerate(prominent) if not is_cluster]
    for name, chosen, size, colour in (("cluster", clusters, 8, OURS), ("noise", noise, 6, PEER)):
        if chosen:
            figure.add_scatter(
                x=[births[i] for i in chosen],
                y=[deaths[i] for i in chosen],
                mode="markers",
                name=name,
                marker={"size": size, "color": colour, "opacity": 0.8},
                text=[f"{deaths[i]:.3g}" if _dies(points[i]) else "never" for i in chosen],
                hovertemplate="born %{x:.3g}, dies: %{text}<extra></extra>",
            )
    figure.update_yaxes(range=[low - 2 * pad, high + 2 * pad])
    return dressed(figure, 380, "birth", "death")


def _dies(point: Sequence[float | None]) -> bool:
    return point[1] is not None and bool(np.isfinite(point[1]))
