"""Everything that a bundle's reports show, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from birdbone.diff.changes import (
    NodeChange,
    TokenChange,
    WeightChange,
    node_changes,
    token_change,
    vocabulary_of,
    weight_changes,
)
from birdbone.diff.metrics import metrics, sparsity
from birdbone.diff.revisions import Side
from birdbone.diff.states import State
from birdbone.model.layout import Layout

EDGES = np.linspace(-5, 0, 41)
"""Of log10 |change| / rms of the tensor, in the histograms."""


@dataclass(frozen=True)
class Story:
    """``deltas``: layer -> counts [len(EDGES) - 1] of its linear weights that changed, by how much;
    smaller changes count in the first, larger in the last. ``summary``: as ``patch.write_patches``
    returns it.
    """

    id: str
    old: Side
    new: Side
    metrics: dict
    nodes: list[NodeChange]
    weights: list[WeightChange]
    tokens: TokenChange | None
    sparsity: tuple[dict[int, float], dict[int, float]]
    deltas: dict[int, np.ndarray]
    summary: dict


def story_of(name: str, old: Side, new: Side, seed: State | None, summary: dict) -> Story:
    """The story of a bundle. Reads every linear weight that changed and kept its shape again."""
    return Story(
        name,
        old,
        new,
        metrics(old, new),
        node_changes(old.state, new.state, seed),
        weight_changes(old.state, new.state),
        token_change(
            *(
                vocabulary_of(side.state, side.records.figures.get("vocabulary", {}))
                for side in (old, new)
            )
        ),
        (sparsity(old.state), sparsity(new.state)),
        deltas(old, new),
        summary,
    )


def deltas(old: Side, new: Side) -> dict[int, np.ndarray]:
    """Layer -> histogram of how much its linear weights changed, where their shapes are equal."""
    histograms: dict[int, np.ndarray] = {}
    a = old.state.weights
    b = new.state.weights
    blocks = Layout(new.state.config).blocks
    for layer, name in (
        (block.layer, f"{module}.weight") for block in blocks for module in block.linears
    ):
        if name not in a or a.specs[name] != b.specs[name] or a.digest(name) == b.digest(name):
            continue
        before = a[name].float()
        after = b[name].float()
        scale = before.square().mean().sqrt().clamp_min(1e-30)
        change = (after - before)[after != before].abs() / scale
        logs = torch.log10(change.clamp_min(1e-30)).clamp(EDGES[0], EDGES[-1]).numpy()
        histograms[layer] = histograms.get(layer, 0) + np.histogram(logs, EDGES)[0]
    return histograms
