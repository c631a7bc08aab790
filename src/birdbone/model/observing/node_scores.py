"""Every registered score of every node, from what a scan measured."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.scores import SCORES, NodeStats
from birdbone.algo.sps import NodeMoments
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Block
from birdbone.model.scores import joint_norms
from birdbone.model.units import UNITS, Nodes


def node_scores(
    seed: Checkpoint, moments: dict[Nodes, NodeMoments], random_seed: int
) -> dict[tuple[Nodes, str], Tensor]:
    """Every registered score of every layer's nodes."""
    scores = {}
    for nodes in seed.layout.nodes:
        incoming, outgoing = _norms(seed, seed.layout.blocks[nodes.layer], nodes.unit)
        stats = NodeStats(moments[nodes], incoming, outgoing)
        for name, function in SCORES.items():
            draw = random_seed * 100_003 + nodes.layer * 2 + list(UNITS).index(nodes.unit)
            scores[nodes, name] = function(stats, torch.Generator().manual_seed(draw)).float()
    return scores


def _norms(seed: Checkpoint, block: Block, unit: str) -> tuple[Tensor, Tensor]:
    """Norms of what enters and leaves each node: rows of what drives it, columns of what reads it."""
    drives = [f"{module}.weight" for module in UNITS[unit].enters(block)]
    reader = f"{block.reader(unit)}.weight"
    if block.axes[drives[0]].entries == 1:
        incoming = joint_norms([seed.weights[name] for name in drives])
    else:
        (name,) = drives
        incoming = block.axes[name].norms(seed.weights[name])
    return incoming, block.axes[reader].norms(seed.weights[reader])
