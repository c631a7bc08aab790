"""Heatmaps over layers: neurons kept, node scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from birdbone.report.chart_style import KEPT_SCALE, SCORE_SCALE, dressed


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
