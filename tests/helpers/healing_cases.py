"""Narrow models to heal, and a short recipe."""

import torch
from families import all_but, shape_of, small, tokens

from birdbone.model.healing.trainable import HealSettings, with_lora
from birdbone.model.network import build
from birdbone.model.pruning.removal import remove_nodes

RECIPE = HealSettings(
    steps=8,
    batch=2,
    rank=4,
    learning_rate=3e-3,
    ce_weight=0.1,
    base="float32",
    merge_onto="weights",
    compute="float32",
    checkpoint_every=3,
)
WINDOWS = tokens(rows=4, length=16)


def narrow(name: str = "llama"):
    checkpoint = small(name)
    width, _ = shape_of(checkpoint)[0]
    return remove_nodes(checkpoint, {0: all_but(width, *range(64)), 1: all_but(width, *range(32))}, {})


def trained(checkpoint, settings):
    """A student whose LoRA is not zero."""
    student = with_lora(build(checkpoint), checkpoint, settings)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in student.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return student
