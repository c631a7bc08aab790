"""Plotly figures shared by the report and the Kedro-Viz previews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from birdbone.report.chart_style import (
    BAD,
    CONTROL,
    INK,
    KEPT_SCALE,
    OURS,
    PEER,
    RULE,
    SCORE_SCALE,
    SEED,
    VERDICTS,
    bars,
    dressed,
    label_places,
    ticks,
)
from birdbone.report.data import File, HealingCheck, HealingStep, Wave, value


def mask_heatmap(masks: Mapping[int, ArrayLike], bins: int = 64) -> go.Figure:
    """Share of neurons kept, layers × neurons in equal bins of the seed's order.

    masks: layer -> [neurons] of 0/1, or shares that are binned already.
    """
    layers = sorted(masks)
    kept = [bin_shares(masks[layer], bins) for layer in layers]
    lowest = min((min(row) for row in kept), default=1.0)
    figure = _heatmap(
        kept,
        layers,
        np.linspace(0, 100, len(kept[0]) if kept else 0),
        KEPT_SCALE,
        zmin=min(lowest, 0.9),
        zmax=1.0,
        percent=True,
        hover="layer %{y}, neurons at %{x:.0f} %<br>kept %{z:.1%}<extra></extra>",
    )
    return dressed(figure, 380, "position in the layer (%)", "layer")


def importance_heatmap(scores: Mapping[int, ArrayLike], points: int = 21) -> go.Figure:
    """Where each layer's nodes stand in the whole model: layers × quantiles of the node score.

    scores: layer -> [nodes] scores, or evenly spaced quantiles of them. A cell is the share of all
    the model's nodes (layers weighed equally) that score lower than this quantile of the layer.
    """
    layers = sorted(scores)
    grid = np.linspace(0, 1, points)
    quantiles = [np.quantile(np.asarray(scores[layer], dtype=float), grid) for layer in layers]
    pool = np.sort(np.concatenate(quantiles)) if quantiles else np.empty(0)
    ranks = [np.searchsorted(pool, row) / len(pool) for row in quantiles]
    figure = _heatmap(
        ranks,
        layers,
        100 * grid,
        SCORE_SCALE,
        zmin=0,
        zmax=1,
        percent=True,
        hover="layer %{y}, node quantile %{x:.0f} %<br>above %{z:.0%} of the model<extra></extra>",
    )
    return dressed(figure, 380, "quantile of the layer's nodes (%)", "layer")


def wave_chart(waves: Sequence[Wave], limit: float | None = None) -> go.Figure:
    """Perplexity change over sparsity, wave by wave; colours are the verdicts."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1, row_heights=[0.6, 0.4])
    numbers = [wave["wave"] for wave in waves]
    deltas = [wave.get("delta") for wave in waves]
    colours = [VERDICTS.get(wave["verdict"], PEER) for wave in waves]
    figure.add_scatter(
        x=numbers,
        y=[None if d is None else 100 * value(d) for d in deltas],
        error_y=bars(deltas),
        mode="lines+markers",
        line={"color": RULE, "width": 2},
        marker={"size": 12, "color": colours},
        text=[escape(wave["verdict"]) for wave in waves],
        showlegend=False,
        hovertemplate="wave %{x}: %{y:+.2f} %<br>%{text}<extra></extra>",
        row=1,
        col=1,
    )
    if limit is not None:
        figure.add_hline(100 * limit, line={"color": BAD, "dash": "dot", "width": 1.5}, row=1, col=1)
    for key, name, colour in (("asked", "asked", RULE), ("reached", "reached", OURS)):
        figure.add_bar(
            x=numbers,
            y=[None if wave.get(key) is None else 100 * wave[key] for wave in waves],
            name=name,
            marker={"color": colour},
            hovertemplate="wave %{x}: %{y:.2f} % " + name + "<extra></extra>",
            row=2,
            col=1,
        )
    highest = [100 * (value(d) if not isinstance(d, Sequence) else d[2]) for d in deltas if d is not None]
    top = 1.15 * max([*highest, 100 * (limit or 0), 0.1])
    lowest = [100 * (value(d) if not isinstance(d, Sequence) else d[1]) for d in deltas if d is not None]
    dressed(figure, 420)
    figure.update_xaxes(dtick=1, title_text="wave", row=2, col=1)
    bottom = 1.15 * min([*lowest, 0])
    figure.update_yaxes(title_text="perplexity change (%)", range=[bottom, top], row=1, col=1)
    figure.update_yaxes(title_text="removed (%)", rangemode="tozero", row=2, col=1)
    return figure.update_layout(barmode="group", bargap=0.7, legend={"y": 0.36})


def healing_curve(rows: Sequence[HealingStep], checks: Sequence[HealingCheck] = ()) -> go.Figure:
    """Loss over healing steps, one line per wave; on check text as points, the kept state ringed."""
    figure = go.Figure()
    palette = [OURS, SEED, CONTROL, BAD, "#7a5ea8", PEER]
    waves = sorted({row.get("wave", 1) for row in rows})
    for place, wave in enumerate(waves):
        part = [row for row in rows if row.get("wave", 1) == wave]
        steps, losses = [row["step"] for row in part], [row["loss"] for row in part]
        colour = palette[place % len(palette)]
        figure.add_scatter(
            x=steps,
            y=losses,
            mode="lines",
            line={"color": colour, "width": 1},
            opacity=0.35,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=steps,
            y=_smoothed(losses),
            mode="lines",
            name=f"wave {wave}",
            line={"color": colour, "width": 2.5},
            hovertemplate=f"wave {wave}, step %{{x}}: %{{y:.4f}}<extra></extra>",
        )
        if own := [check for check in checks if check.get("wave", 1) == wave]:
            _add_checks(figure, own, f"wave {wave}, check text", colour)
    return dressed(figure, 340, "step", "loss (nats)")


def _add_checks(figure: go.Figure, checks: Sequence[HealingCheck], name: str, colour: str) -> None:
    steps, losses = [check["steps"] for check in checks], [check["loss"] for check in checks]
    kept = losses.index(min(losses))
    figure.add_scatter(
        x=steps,
        y=losses,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 1.5, "dash": "dot"},
        marker={
            "color": colour,
            "size": [12 if i == kept else 7 for i in range(len(steps))],
            "symbol": ["circle-open-dot" if i == kept else "circle" for i in range(len(steps))],
            "line": {"width": 2, "color": colour},
        },
        hovertemplate="after %{x} steps: %{y:.4f}" + "<extra></extra>",
    )


def persistence_diagram(points: Sequence[Sequence[float | None]], threshold: float | None = None) -> go.Figure:
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
    prominent = [not _dies(p) or (threshold is not None and abs(p[0] - p[1]) >= threshold) for p in points]
    figure = go.Figure()
    ends = [low - pad, high + pad]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": RULE}, showlegend=False, hoverinfo="skip")
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
    for wanted, name, colour in ((True, "cluster", OURS), (False, "noise", PEER)):
        chosen = [place for place, is_cluster in enumerate(prominent) if is_cluster == wanted]
        if chosen:
            figure.add_scatter(
                x=[births[i] for i in chosen],
                y=[deaths[i] for i in chosen],
                mode="markers",
                name=name,
                marker={"size": 8 if wanted else 6, "color": colour, "opacity": 0.8},
                text=[f"{deaths[i]:.3g}" if _dies(points[i]) else "never" for i in chosen],
                hovertemplate="born %{x:.3g}, dies: %{text}<extra></extra>",
            )
    figure.update_yaxes(range=[low - 2 * pad, high + 2 * pad])
    return dressed(figure, 380, "birth", "death")


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
    ys = [float(np.exp(np.mean([np.log(row["perplexity"][d]) for d in sorted(domains)]))) for row in points]
    best = _undominated(xs, ys)
    figure.add_scatter(
        x=[xs[i] for i in best],
        y=[ys[i] for i in best],
        mode="lines",
        showlegend=False,
        line={"color": RULE, "width": 2},
        hoverinfo="skip",
    )
    colours = {"ours": OURS, "seed": SEED, "source": CONTROL, "peer": PEER}
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
            hovertemplate=f"{escape(row['name'])}<br>%{{x:.1f}} MB, perplexity %{{y:.2f}}<extra></extra>",
            showlegend=False,
        )
    for (x, y), row, (dx, dy) in zip(zip(xs, ys, strict=True), points, label_places(np.log(xs), ys), strict=True):
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


def bin_shares(mask: ArrayLike, bins: int) -> list[float]:
    """Mean of a 0/1 mask (or of shares) in at most ``bins`` nearly equal runs."""
    values = np.asarray(mask, dtype=float).reshape(-1)
    return [float(part.mean()) for part in np.array_split(values, min(bins, len(values)))]


def _heatmap(rows, layers, xs, scale, *, zmin, zmax, percent, hover) -> go.Figure:
    figure = go.Figure(
        go.Heatmap(
            z=[[round(float(cell), 5) for cell in row] for row in rows],
            x=list(np.round(xs, 3)),
            y=list(layers),
            colorscale=scale,
            zmin=zmin,
            zmax=zmax,
            hovertemplate=hover,
            xgap=0,
            ygap=1,
            colorbar={
                "thickness": 10,
                "outlinewidth": 0,
                "tickformat": ".0%" if percent else "",
                "len": 0.9,
            },
        )
    )
    figure.update_yaxes(autorange="reversed")
    return figure


def _smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential mean over about a tenth of the curve, its start corrected (Kingma and Ba 2015, sec. 3)."""
    memory = 1 - 1 / max(3, len(losses) / 10)
    mean, smooth = 0.0, []
    for count, loss in enumerate(losses, start=1):
        mean = memory * mean + (1 - memory) * loss
        smooth.append(mean / (1 - memory**count))
    return smooth


def _dies(point: Sequence[float | None]) -> bool:
    return point[1] is not None and bool(np.isfinite(point[1]))


def _undominated(xs: Sequence[float], ys: Sequence[float]) -> list[int]:
    """Places, by rising x, that no other point beats in both."""
    best, lowest = [], np.inf
    for place in sorted(range(len(xs)), key=lambda i: (xs[i], ys[i])):
        if ys[place] < lowest:
            best.append(place)
            lowest = ys[place]
    return best
