"""Importance scores of nodes: one registry, so that every score meets the same test.

A score takes what was measured on the calibration tokens and gives one number per node; nodes with
the lowest go first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from birdbone.algo import sps as surprise


@dataclass(frozen=True)
class NodeStats:
    """One layer's nodes of one kind: activations and gradients, and weight norms [nodes]."""

    seen: surprise.NodeMoments
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
    """mean |activation × gradient|: the loss change to first order (Molchanov et al. 2017, arXiv:1611.06440)."""
    return surprise.taylor(stats.seen)


@score
def fisher(stats: NodeStats, _: torch.Generator) -> Tensor:
    """mean h² × mean (∂L/∂h)²: the second-order loss change, activation and gradient taken as independent

    (the diagonal of K-FAC, Martens & Grosse 2015, arXiv:1503.05671, at a node's output). True Fisher
    information on text drawn from the model, the empirical one on any other. Too low where a neuron fires just when
    the loss minds: in the last layers by several times.
    """
    seen = stats.seen
    return (seen.h_squared / seen.tokens * seen.g_squared / seen.tokens).float()


@score
def fisher_joint(stats: NodeStats, _: torch.Generator) -> Tensor:
    """mean (h × ∂L/∂h)²: the same without that assumption (Theis et al. 2018, arXiv:1801.05787).

    It rests on the few tokens where both are large: the neurons it ranks lowest are partly those that met none.
    """
    return (stats.seen.taylor_squared / stats.seen.tokens).float()


@score
def fisher_max(stats: NodeStats, generator: torch.Generator) -> Tensor:
    """The larger of ``fisher`` and ``fisher_joint``: a neuron goes first only where both find it cheap."""
    return torch.maximum(fisher(stats, generator), fisher_joint(stats, generator))


@score
def wanda(stats: NodeStats, _: torch.Generator) -> Tensor:
    """Activation norm × outgoing weight norm (Sun et al. 2023, arXiv:2306.11695, a column at a time)."""
    return (stats.seen.h_squared / stats.seen.tokens).sqrt().float() * stats.outgoing


@score
def magnitude(stats: NodeStats, _: torch.Generator) -> Tensor:
    """Incoming × outgoing weight norm."""
    return stats.incoming * stats.outgoing


@score
def sps(stats: NodeStats, _: torch.Generator) -> Tensor:
    """∫SPS as its source reads it: much used and little surprising is worth keeping."""
    return surprise.node_sps([stats.seen])[0]


@score
def random(stats: NodeStats, generator: torch.Generator) -> Tensor:
    """Chance: what every other score must beat."""
    return torch.rand(stats.incoming.shape, generator=generator)
