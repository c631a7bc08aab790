"""Importance scores of nodes: one registry, so that every score meets the same test.

A score takes what was measured on the calibration tokens and gives one number per node; nodes with
the lowest go first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from birdbone.algo.sps import NodeMoments, node_sps, taylor_scores


@dataclass(frozen=True)
class NodeStats:
    """One layer's nodes of one kind: activations and gradients, and weight norms [nodes]."""

    moments: NodeMoments
    incoming: Tensor
    outgoing: Tensor


Score = Callable[[NodeStats, torch.Generator], Tensor]
SCORES: dict[str, Score] = {}


def score(function: Score) -> Score:
    """Register a score under its function's name."""
    SCORES[function.__name__] = function
    return function


@score
def taylor(stats: NodeStats, _: torch.Generator) -> Tensor:
    """mean |activation × gradient|: the loss change to first order.

    Molchanov et al. 2017, arXiv:1611.06440.
    """
    return taylor_scores(stats.moments)


@score
def fisher(stats: NodeStats, _: torch.Generator) -> Tensor:
    """mean h² × mean (∂L/∂h)²: the loss change to second order, h and ∂L/∂h taken as independent.

    It is the diagonal of K-FAC (Martens & Grosse 2015, arXiv:1503.05671) at a node's output. On
    text drawn from the model it is the true Fisher information, on other text the empirical one. It
    is too low, in the last layers by several times, where a neuron fires just when the loss is
    sensitive to it.
    """
    moments = stats.moments
    return (moments.h_squared / moments.tokens * moments.g_squared / moments.tokens).float()


@score
def fisher_joint(stats: NodeStats, _: torch.Generator) -> Tensor:
    """mean (h × ∂L/∂h)²: ``fisher`` without that assumption (Theis et al. 2018, arXiv:1801.05787).

    It rests on the few tokens where both are large. Some of the neurons it ranks lowest have only
    met no such token.
    """
    return (stats.moments.taylor_squared / stats.moments.tokens).float()


@score
def fisher_max(stats: NodeStats, generator: torch.Generator) -> Tensor:
    """The larger of ``fisher`` and ``fisher_joint``: low only where both are."""
    return torch.maximum(fisher(stats, generator), fisher_joint(stats, generator))


@score
def wanda(stats: NodeStats, _: torch.Generator) -> Tensor:
    """Activation norm × outgoing weight norm (Sun et al. 2023, arXiv:2306.11695, by column)."""
    rms = (stats.moments.h_squared / stats.moments.tokens).sqrt().float()
    return rms * stats.outgoing


@score
def magnitude(stats: NodeStats, _: torch.Generator) -> Tensor:
    """Incoming × outgoing weight norm."""
    return stats.incoming * stats.outgoing


@score
def sps(stats: NodeStats, _: torch.Generator) -> Tensor:
    """∫SPS as its source reads it: much used and little surprising is worth keeping."""
    return node_sps([stats.moments])[0]


@score
def random(stats: NodeStats, generator: torch.Generator) -> Tensor:
    """Chance: what every other score must beat."""
    return torch.rand(stats.incoming.shape, generator=generator)
