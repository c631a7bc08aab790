"""The interactive neuroimage: one HTML file without network; equal pictures give equal text."""

from __future__ import annotations

import json
from collections.abc import Sequence

import plotly.graph_objects as go

from birdbone.report.embed import rendered
from birdbone.scan.montage import Montage, montage
from birdbone.scan.neuroimage import COLOURS, FAINT, GROUND, INK
from birdbone.scan.picture import NAMES, POPULATION, Picture, limit

FRAMES = 64
"""Tokens that a page can step through; a longer scan shows its first ones."""


def scan_page(
    pictures: dict[str, Sequence[Picture]], labels: Sequence[str], prompt: str | None = None
) -> str:
    """Pictures of each norm (``layer``, ``model``), one per label, to step through and play.

    Hovering shows module, layer, the block's neurons and features, z(A), z(G) and SPS.
    Raises ValueError when a norm has not one picture per label.
    """
    if not pictures or any(len(frames) != len(labels) for frames in pictures.values()):
        raise ValueError(f"a page needs {len(labels)} pictures of each norm")
    first = next(iter(pictures.values()))[0]
    plan = montage(first.modules, first.block)
    norms = {
        scope: {
            "name": NAMES[scope],
            "population": POPULATION[scope],
            "limit": (bound := limit(frames)),
            "frames": [_frame(picture, plan, 2 if bound >= 1 else 4) for picture in frames],
        }
        for scope, frames in pictures.items()
    }
    tiles = [
        [
            t.module.name,
            t.module.layer,
            t.top,
            t.left,
            t.rows,
            t.columns,
            t.turned,
            t.module.inputs,
            t.module.outputs,
        ]
        for t in plan.tiles
    ]
    data = {
        "norms": norms,
        "tiles": tiles,
        "labels": list(labels),
        "size": [plan.height, plan.width],
    }
    data["block"] = first.block
    return rendered(
        "birdbone.scan/page.html",
        {"scan": _figure(first, plan, next(iter(norms.values()))["limit"])},
        title=prompt or first.model,
        about=f"{first.model}, digest {first.digest[:8]}" if first.digest else first.model,
        difference=first.minus is not None,
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _frame(picture: Picture, plan: Montage, digits: int) -> dict:
    """z(A) and z(G) of all tiles end to end, rounded, and what the picture shows."""
    scores = [picture.scores[tile.module.name] for tile in plan.tiles]
    return {
        "what": picture.what + (f" minus {picture.minus}" if picture.minus else ""),
        "a": [round(v, digits) for s in scores for v in s.a.tolist()],
        "g": [round(v, digits) for s in scores for v in s.g.tolist()],
    }


def _figure(picture: Picture, plan: Montage, bound: float) -> go.Figure:
    steps = [[i / (len(COLOURS) - 1), colour] for i, colour in enumerate(COLOURS)]
    figure = go.Figure(
        go.Heatmap(
            z=[[None] * plan.width],
            zmin=-bound,
            zmax=bound,
            colorscale=steps,
            hoverongaps=False,
            hovertemplate="%{text}<br>SPS %{z:.3~f}<extra></extra>",
            colorbar={"title": {"text": "SPS"}, "thickness": 12, "outlinewidth": 0, "len": 0.6},
        )
    )
    for layer, (top, left, _, _) in plan.slices.items():
        words = f"layer {layer}" if layer >= 0 else "outside layers"
        figure.add_annotation(
            x=left - 0.5, y=top - 1.6, text=words, showarrow=False, xanchor="left"
        )
    figure.update_annotations(font={"size": 10, "color": FAINT})
    figure.update_layout(
        template="none",
        height=max(420, round(1080 * plan.height / plan.width)),
        paper_bgcolor=GROUND,
        plot_bgcolor=GROUND,
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )
    figure.update_xaxes(visible=False, range=[-0.5, plan.width - 0.5], constrain="domain")
    figure.update_yaxes(
        visible=False, range=[plan.height - 0.5, -0.5], scaleanchor="x", constrain="domain"
    )
    return figure
