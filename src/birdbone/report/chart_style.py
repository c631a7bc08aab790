"""How charts look: colours for light and dark, axes, error bars, labels that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from birdbone.report.data import Measure

INK = "#7d8590"
RULE = "rgba(125,133,144,0.25)"
OURS = "#1f8a70"
SEED = "#4c6fbf"
CONTROL = "#c08a2b"
PEER = "#8d96a3"
BAD = "#c8553d"
VERDICTS = {
    "accepted": OURS,
    "provisional": CONTROL,
    "reverted": BAD,
    "rejected": BAD,
    "stopped": PEER,
}
SCORE_SCALE = [[0.0, "#f3efe2"], [0.35, "#b9cfae"], [0.7, "#4f9c86"], [1.0, "#0f4c5c"]]
KEPT_SCALE = [[0.0, "#c8553d"], [0.5, "#e3c58f"], [1.0, "#1f8a70"]]


DOMAINS = ("#1f8a70", "#c08a2b", "#4c6fbf", "#c8553d", "#8a5fb0", "#4a9db5", "#a3772f", "#7a8b3c")


def domain_colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour per domain, the same in every chart of a page; they repeat after eight."""
    return {label: DOMAINS[i % len(DOMAINS)] for i, label in enumerate(labels)}


def dressed(
    figure: go.Figure, height: int, x: str | None = None, y: str | None = None
) -> go.Figure:
    """The figure with the report's look; x, y: titles of its axes."""
    figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 58, "r": 16, "t": 34, "b": 48},
        legend={
            "orientation": "h",
            "y": 1.0,
            "yanchor": "bottom",
            "x": 0,
            "font": {"size": 12},
            "traceorder": "normal",
        },
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
    axes = {
        "gridcolor": RULE,
        "zerolinecolor": INK,
        "linecolor": RULE,
        "automargin": True,
        "title": {"standoff": 10, "font": {"size": 13}},
        "ticks": "",
        "fixedrange": True,
    }
    figure.update_xaxes(**axes, showgrid=False, zeroline=False)
    figure.update_yaxes(**axes, zeroline=False)
    if x:
        figure.update_xaxes(title_text=x)
    if y:
        figure.update_yaxes(title_text=y)
    return figure


def bars(measures: Sequence[Measure | None], colour: str = INK, scale: float = 100) -> dict:
    """Plotly error bars from measures that carry an interval, in percent unless ``scale`` is 1."""
    intervals = [m if isinstance(m, Sequence) else None for m in measures]
    return {
        "type": "data",
        "symmetric": False,
        "thickness": 1.5,
        "width": 4,
        "color": colour,
        "array": [0 if m is None else scale * (m[2] - m[0]) for m in intervals],
        "arrayminus": [0 if m is None else scale * (m[0] - m[1]) for m in intervals],
    }


def ticks(xs: Sequence[float]) -> list[float]:
    """Round numbers over the range of a logarithmic axis."""
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8)
    powers = range(-4, 8)
    low = min(xs) * 0.74
    high = max(xs) * 1.16
    candidates = [step * 10**power for power in powers for step in steps]
    return [tick for tick in candidates if low <= tick <= high]


def label_places(xs: ArrayLike, ys: ArrayLike) -> list[tuple[int, int]]:
    """Pixel offsets for labels so that none lies on another or on the axis, even on a phone.

    Computed for points that fill 190 × 230 pixels, 50 pixels from the axis, and labels of 92 × 18.
    """
    xs, ys = (_unit(np.asarray(values, dtype=float)) for values in (xs, ys))
    spots = [(x * 190, -y * 230) for x, y in zip(xs, ys, strict=True)]
    boxes = [(x, y, 10, 10) for x, y in spots]
    offsets = [(dx, dy) for reach in (24, 44, 66) for dx in (0, 40, -40) for dy in (-reach, reach)]
    chosen = []
    for x, y in spots:
        inside = [offset for offset in offsets if x + offset[0] >= 0]
        free = (o for o in inside if not _hits((x + o[0], y + o[1], 46, 9), boxes))
        offset = next(free, inside[0])
        chosen.append(offset)
        boxes.append((x + offset[0], y + offset[1], 46, 9))
    return chosen


def _hits(box: tuple, others: Sequence[tuple]) -> bool:
    """Whether a box (centre x, y, half width, half height) overlaps any other."""
    x, y, width, height = box
    return any(abs(x - o[0]) < width + o[2] and abs(y - o[1]) < height + o[3] for o in others)


def _unit(values: np.ndarray) -> np.ndarray:
    span = values.max() - values.min()
    return (values - values.min()) / span if span else np.full_like(values, 0.5)
