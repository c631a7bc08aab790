"""A dense model cut into experts, and how far its logits are."""

from __future__ import annotations

import dataclasses

import torch
from families import tokens

from birdbone.mixture.model import (
    expert_shape,
)
from birdbone.mixture.split import Split, evened, split_layers
from birdbone.model.checkpoint import Checkpoint


def split(checkpoint: Checkpoint, experts: int = 6) -> Split:
    """The checkpoint cut at random and by topology, from random profiles."""
    generator = torch.Generator().manual_seed(2)
    layers = range(checkpoint.layers)
    profiles = {i: torch.randn(128, 40, generator=generator) for i in layers}
    clusters = {i: torch.randint(0, 3, (128,), generator=generator) for i in layers}
    even, profiles, clusters = evened(checkpoint, profiles, clusters)
    shape = expert_shape(len(profiles[0]), experts, 0.25)
    cuts = split_layers(
        even, profiles, clusters, tokens(8), shape, ("topology", "random"), 0.1, 0, "cpu"
    )
    return Split(cuts, **dataclasses.asdict(shape), active=2, grouping="topology")


def mean_kl(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """In float64: float32's own noise is 1e-8."""
    s, t = student.double().log_softmax(-1), teacher.double().log_softmax(-1)
    return (t.exp() * (t - s)).sum(-1).mean().item()
