"""A layer's nodes as one shared expert and equally wide routed ones.

The shared expert and the balanced assignment follow CMoE (Pei et al. 2025, arXiv:2502.04416). The
idea of splitting a dense feed-forward layer into experts is MoEfication's (Zhang et al. 2022,
arXiv:2110.01786).
Legend: W nodes, T tokens, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.topology import standardised

GROUPINGS = ("topology", "kmeans", "random")
ROUNDS = 6
"""Rounds of k-means at most; it mostly settles earlier."""


def shared_nodes(contributions: Tensor, count: int) -> Tensor:
    """The ``count`` nodes that most tokens need, in ascending order: int64 [count].

    contributions: [W, T], what each node adds to the layer's output: |h| times the norm of its
    outgoing column. A token needs the nodes that are among its ``count`` largest. Among equals the
    larger mean decides.
    """
    needed = torch.zeros(contributions.shape)
    needed.scatter_(0, contributions.topk(count, dim=0).indices, 1.0)
    tie = contributions.mean(1)
    score = needed.sum(1).double() + 0.5 * (tie / tie.max().clamp_min(1e-30)).double()
    return score.argsort(descending=True, stable=True)[:count].sort().values


def grouped(method: str, profiles: Tensor, labels: Tensor, experts: int, random_seed: int) -> Tensor:
    """The expert of every routed node, int64 [W], each expert with W / experts of them.

    profiles: [W, T]; labels: [W] cluster of each node, which ``topology`` alone reads.
    """
    generator = torch.Generator().manual_seed(random_seed)
    if method == "random":
        even = torch.arange(len(profiles)) % experts
        return even[torch.randperm(len(profiles), generator=generator)]
    points = _unit(profiles.float().abs())
    if method == "kmeans":
        starts = points[torch.randperm(len(points), generator=generator)[:experts]]
        return balanced_kmeans(points, starts)
    return _balanced(points @ _cluster_centres(points, labels, experts, generator).T)


def balanced_kmeans(points: Tensor, centres: Tensor, rounds: int = ROUNDS) -> Tensor:
    """k-means on unit vectors [W, T] whose clusters are equally large: int64 [W].

    Every assignment is the best one for its centres (Malinen and Fränti, "Balanced k-means for
    clustering", S+SSPR 2014).
    """
    assignment = None
    for _ in range(rounds):
        new = _balanced(points @ centres.T)
        if assignment is not None and torch.equal(new, assignment):
            break
        assignment = new
        centres = _centres(points, assignment, len(centres))
    return assignment


def _cluster_centres(points: Tensor, labels: Tensor, experts: int, generator: torch.Generator) -> Tensor:
    """Centres of the experts, [E, T]: each cluster gets a number of them in proportion to its size.

    The largest remainders come first. A cluster with several experts is cut by k-means within it,
    so that no expert crosses into another cluster. A cluster too small for an expert follows the
    nearest one.
    """
    clusters, sizes = labels.unique(return_counts=True)
    quota = sizes.double() * experts / len(points)
    seats = quota.floor().long()
    missing = experts - int(seats.sum())
    seats[(quota - seats).argsort(descending=True, stable=True)[:missing]] += 1
    centres = []
    for label, count in zip(clusters, seats.tolist(), strict=True):
        members = points[labels == label]
        if count:
            starts = members[torch.randperm(len(members), generator=generator)[:count]]
            centres.append(_kmeans(members, starts))
    return torch.cat(centres)


def _kmeans(points: Tensor, centres: Tensor) -> Tensor:
    """Plain k-means on unit vectors; a centre without members stays where it was."""
    for _ in range(ROUNDS if len(centres) > 1 else 1):
        nearest = (points @ centres.T).argmax(1)
        new = _centres(points, nearest, len(centres))
        empty = torch.bincount(nearest, minlength=len(centres)) == 0
        centres = torch.where(empty[:, None], centres, new)
    return centres


def _centres(points: Tensor, assignment: Tensor, experts: int) -> Tensor:
    sums = torch.zeros(experts, points.shape[1]).index_add_(0, assignment, points)
    return torch.nn.functional.normalize(sums, dim=1)


def _balanced(similarity: Tensor) -> Tensor:
    """W nodes to E experts of W / E places each, with the largest sum of ``similarity`` [W, E]."""
    from scipy.optimize import linear_sum_assignment

    places = similarity.repeat_interleave(len(similarity) // similarity.shape[1], dim=1)
    _, chosen = linear_sum_assignment(places.numpy(), maximize=True)
    return torch.from_numpy(chosen) // (len(similarity) // similarity.shape[1])


def _unit(profiles: Tensor) -> Tensor:
    """Rows as Spearman ranks of unit length; silent nodes correlate with nothing and are zero."""
    points = torch.zeros(profiles.shape)
    varies = profiles.amax(1) > profiles.amin(1)
    points[varies] = standardised(profiles[varies])
    return points
