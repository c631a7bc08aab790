"""A bundle's pictures as small, deterministic SVG without script: nodes, changes, healing."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from torch import Tensor

from birdbone.diff.changes import NodeChange
from birdbone.diff.report_data import EDGES
from birdbone.report.chart_style import BAD, CONTROL, OURS, PEER, SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = (
    ("kept", "#c9d8d1"),
    ("removed", BAD),
    ("regrown", OURS),
    ("revived", SEED),
    ("gone before", "#8b95a0"),
)
"""From the commonest to the rarest, but for the last."""
BINS = 192
INK = "#7d8590"
STYLE = {
    "svg.hashsalt": "birdbone",
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "sans-serif",
}


def node_map(changes: list[NodeChange]) -> Markup:
    """Layers × neurons in equal bins of the seed's order. A bin shows the rarest state in it."""
    from matplotlib.colors import ListedColormap

    rows = np.array([_states(change) for change in changes])
    figure, axes = _figure(1.0 + 0.2 * len(rows))
    colours = ListedColormap([colour for _, colour in STATES])
    axes.imshow(
        rows,
        colours,
        aspect="auto",
        vmin=-0.5,
        vmax=len(STATES) - 0.5,
        extent=(0, 100, len(rows), 0),
    )
    axes.set_yticks(
        np.arange(len(rows)) + 0.5, [f"layer {change.nodes.layer}" for change in changes]
    )
    axes.set_xlabel("position in the layer (%)")
    axes.hlines(np.arange(1, len(rows)), 0, 100, colors="white", linewidth=2)
    return _svg(figure)


def delta_map(deltas: dict[int, np.ndarray]) -> Markup:
    """Layers × size of change: the share of a layer's changed weights that changed by that much."""
    layers = sorted(deltas)
    shares = np.array([deltas[i] / max(1, deltas[i].sum()) for i in layers])
    figure, axes = _figure(1.2 + 0.13 * len(layers))
    picture = axes.imshow(
        shares, "YlGnBu", aspect="auto", extent=(EDGES[0], EDGES[-1], len(layers), 0), vmin=0
    )
    step = max(1, len(layers) // 15)
    axes.set_yticks(np.arange(0, len(layers), step) + 0.5, [str(i) for i in layers[::step]])
    axes.set(xlabel="log10 of |change| / rms of the tensor", ylabel="layer")
    bar = figure.colorbar(picture, ax=axes, format=lambda x, _: f"{x:.0%}", pad=0.01)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=0)
    return _svg(figure)


def healing(curves: dict[str, list[dict]]) -> Markup:
    """Loss over healing steps, the curves of both sides laid over each other."""
    figure, axes = _figure(3.0)
    palette = (SEED, CONTROL, OURS, BAD, PEER)
    for place, (name, rows) in enumerate(curves.items()):
        xs, ys = ([row[key] for row in rows] for key in ("step", "loss"))
        axes.plot(
            xs,
            ys,
            label=name.replace("$", r"\$"),
            color=palette[place % len(palette)],
            linewidth=1.6,
        )
    axes.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, labelcolor=INK)
    return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, length=0)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[:].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> Markup:
    """The ``<svg>`` alone, as wide as its place; matplotlib escapes the texts in it."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        text = io.StringIO()
        figure.savefig(
            text, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    return Markup(re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1))


def _states(change: NodeChange) -> list[int]:
    count = change.kept.numel()
    cells = []
    for part in np.array_split(np.arange(count), min(BINS, count)):
        happened = [
            _any(mask, part)
            for mask in (change.kept, change.removed, change.regrown, change.revived)
        ]
        cells.append(max((i for i, true in enumerate(happened) if true), default=len(STATES) - 1))
    return cells


def _any(mask: Tensor, part: np.ndarray) -> bool:
    return bool(mask[int(part[0]) : int(part[-1]) + 1].any())
