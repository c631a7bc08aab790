"""Narrow models to heal, and a short recipe."""

import torch
from families import all_but, cut, shape_of, small, tokens

from birdbone.model.healing.recipe import Lora, Recipe
from birdbone.model.healing.trainable import student_of, with_lora
from birdbone.model.network import build

RECIPE = Recipe(
    steps=8,
    batch=2,
    learning_rate=3e-3,
    checkpoint_every=3,
    compute="float32",
    ce_weight=0.1,
)
LORA = Lora(rank=4)
WINDOWS = tokens(rows=4, length=16)


def narrow(name: str = "llama"):
    checkpoint = small(name)
    width, _ = shape_of(checkpoint)[0]
    return cut(checkpoint, {0: all_but(width, *range(64)), 1: all_but(width, *range(32))}, {})


def student(checkpoint, lora=LORA, random_seed=0):
    return student_of(checkpoint, lora, random_seed, "cpu")


def trained(checkpoint, lora):
    """A network whose LoRA is not zero."""
    network = with_lora(build(checkpoint), checkpoint, lora)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network
