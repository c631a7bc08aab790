"""The waterfall: size and divergence from the seed after each step."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from birdbone.report import numbers
from birdbone.report.chart_style import CONTROL, OURS, PEER, SEED, bars, dressed
from birdbone.report.data import Step, value


def waterfall(steps: Sequence[Step]) -> go.Figure:
    """Megabytes that each step took away, and the KL that it left, with its control beside it."""
    kept = [row for row in steps if "verdict" not in row]
    names = [escape(row["step"]) for row in kept]
    sizes = [row["bytes"] / 1e6 for row in kept]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.5, 0.5]
    )
    changes = [after - before for before, after in zip(sizes, sizes[1:], strict=False)]
    figure.add_waterfall(
        x=[*names, "export"],
        y=[sizes[0], *changes, 0],
        measure=["absolute", *["relative"] * len(changes), "total"],
        text=[
            numbers.size(kept[0]["bytes"]),
            *(_change(before, after) for before, after in zip(kept, kept[1:], strict=False)),
            numbers.size(kept[-1]["bytes"]),
        ],
        textposition="outside",
        connector={"line": {"color": PEER, "width": 1}},
        decreasing={"marker": {"color": OURS}},
        increasing={"marker": {"color": CONTROL}},
        totals={"marker": {"color": SEED}},
        showlegend=False,
        hovertemplate="%{x}: %{y:.1f} MB<extra></extra>",
        row=1,
        col=1,
    )
    after = kept[1:]
    series = (
        ("after the step", "kl", OURS, "circle"),
        ("its control", "control_kl", CONTROL, "diamond-open"),
    )
    for name, key, colour, symbol in series:
        rows = [row for row in after if key in row]
        if rows:
            figure.add_scatter(
                x=[escape(row["step"]) for row in rows],
                y=[value(row[key]) for row in rows],
                error_y=bars([row[key] for row in rows], colour, scale=1),
                mode="markers",
                name=name,
                marker={"size": 11, "color": colour, "symbol": symbol},
                text=[escape(row["step"] if key == "kl" else row["control"]) for row in rows],
                hovertemplate="%{text}: KL %{y:.4f}<extra></extra>",
                row=2,
                col=1,
            )
    dressed(figure, 520)
    figure.update_yaxes(title_text="MB", range=[0, 1.15 * max(sizes)], row=1, col=1)
    figure.update_yaxes(title_text="KL (nats)", rangemode="tozero", row=2, col=1)
    return figure.update_layout(legend={"y": 0.46})


def _change(before: Step, after: Step) -> str:
    gone = before["bytes"] - after["bytes"]
    return f"{'−' if gone > 0 else '+'}{numbers.size(abs(gone))}" if gone else "0"


def step_cells(step: Step) -> list[str]:
    """A row of the table as text: step, size, MACs, KL, its control's KL, which that is."""
    note = f" ({step['verdict']})" if "verdict" in step else ""
    return [
        step["step"] + note,
        numbers.size(step["bytes"]),
        numbers.amount(step["macs_per_token"]),
        numbers.nats(value(step["kl"])),
        numbers.nats(value(step["control_kl"])) if "control_kl" in step else numbers.NONE,
        step.get("control", ""),
    ]
