"""Charts of the waves: perplexity over sparsity, and the healing curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from birdbone.report.chart_style import (
    BAD,
    CONTROL,
    OURS,
    PEER,
    RULE,
    SEED,
    VERDICTS,
    bars,
    dressed,
)
from birdbone.report.data import HealingCheck, HealingStep, Measure, Wave, value


def wave_chart(waves: Sequence[Wave], limit: float | None = None) -> go.Figure:
    """Perplexity change over sparsity, wave by wave; colours are the verdicts."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1, row_heights=[0.6, 0.4]
    )
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
        figure.add_hline(
            100 * limit, line={"color": BAD, "dash": "dot", "width": 1.5}, row=1, col=1
        )
    for key, name, colour in (("target", "asked", RULE), ("reached", "reached", OURS)):
        figure.add_bar(
            x=numbers,
            y=[None if wave.get(key) is None else 100 * wave[key] for wave in waves],
            name=name,
            marker={"color": colour},
            hovertemplate="wave %{x}: %{y:.2f} % " + name + "<extra></extra>",
            row=2,
            col=1,
        )
    measured = [delta for delta in deltas if delta is not None]
    highest = [100 * _end(delta, 2) for delta in measured]
    top = 1.15 * max([*highest, 100 * (limit or 0), 0.1])
    lowest = [100 * _end(delta, 1) for delta in measured]
    dressed(figure, 420)
    figure.update_xaxes(dtick=1, title_text="wave", row=2, col=1)
    bottom = 1.15 * min([*lowest, 0])
    figure.update_yaxes(title_text="perplexity change (%)", range=[bottom, top], row=1, col=1)
    figure.update_yaxes(title_text="removed (%)", rangemode="tozero", row=2, col=1)
    return figure.update_layout(barmode="group", bargap=0.7, legend={"y": 0.36})


def _end(measure: Measure, side: int) -> float:
    """An end of the measure's interval (1 low, 2 high); the figure itself where it has none."""
    return measure[side] if isinstance(measure, Sequence) else value(measure)


def healing_curve(rows: Sequence[HealingStep], checks: Sequence[HealingCheck] = ()) -> go.Figure:
    """Loss over healing steps, one line per wave; loss on check text as points, the best ringed."""
    figure = go.Figure()
    palette = [OURS, SEED, CONTROL, BAD, "#7a5ea8", PEER]
    waves = sorted({row.get("wave", 1) for row in rows})
    for place, wave in enumerate(waves):
        part = [row for row in rows if row.get("wave", 1) == wave]
        steps = [row["step"] for row in part]
        losses = [row["loss"] for row in part]
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
        if wave_checks := [check for check in checks if check.get("wave", 1) == wave]:
            _add_checks(figure, wave_checks, f"wave {wave}, check text", colour)
    return dressed(figure, 340, "step", "loss (nats)")


def _add_checks(figure: go.Figure, checks: Sequence[HealingCheck], name: str, colour: str) -> None:
    steps = [check["steps"] for check in checks]
    losses = [check["loss"] for check in checks]
    best = losses.index(min(losses))
    figure.add_scatter(
        x=steps,
        y=losses,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 1.5, "dash": "dot"},
        marker={
            "color": colour,
            "size": [12 if i == best else 7 for i in range(len(steps))],
            "symbol": ["circle-open-dot" if i == best else "circle" for i in range(len(steps))],
            "line": {"width": 2, "color": colour},
        },
        hovertemplate="after %{x} steps: %{y:.4f}" + "<extra></extra>",
    )


def _smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential mean over about a tenth of the curve, with the start corrected.

    Kingma and Ba 2015, section 3.
    """
    memory = 1 - 1 / max(3, len(losses) / 10)
    mean = 0.0
    smooth = []
    for count, loss in enumerate(losses, start=1):
        mean = memory * mean + (1 - memory) * loss
        smooth.append(mean / (1 - memory**count))
    return smooth
