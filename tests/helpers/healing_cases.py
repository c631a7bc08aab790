"""Narrow models to heal, and a short recipe."""

from two_layer_models import all_but, family, shape_of, small, tokens

from birdbone.model.healing.recipe import Lora, Recipe
from birdbone.model.healing.trainable import student_of
from birdbone.model.pruning.removal import remove_nodes

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
    return remove_nodes(checkpoint, {0: all_but(width, *range(64)), 1: all_but(width, *range(32))}, {})


def student(checkpoint, lora=LORA, random_seed=0):
    return student_of(checkpoint, lora, random_seed, "cpu")


def linear_names(checkpoint) -> list[str]:
    return [f"{n}.weight" for layer in range(checkpoint.layers) for n in family(checkpoint).linears(layer)]
