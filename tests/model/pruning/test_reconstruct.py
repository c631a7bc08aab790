"""Blocks learn the seed's outputs one after the other, under their masks."""

from dataclasses import replace

import pytest
import torch
from families import FAMILIES, linear_names, logits, random_masks, small
from healing_cases import LORA, RECIPE, WINDOWS, narrow, student

from birdbone.errors import NumericalError
from birdbone.model.network import build
from birdbone.model.pruning.reconstruct import reconstruct

FULL = replace(RECIPE, steps=20, learning_rate=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_block_comes_nearer_to_the_seeds(name, method):
    checkpoint, seed = narrow(name), small(name)
    recipe, lora = (FULL, None) if method == "full" else (replace(FULL, learning_rate=1e-2), LORA)
    healed, curve = reconstruct(student(checkpoint, lora), seed, WINDOWS, recipe)
    assert [row["block"] for row in curve] == [0, 1]
    assert all(row["after"] < row["before"] for row in curve)
    exact, before, after = (logits(build(c), WINDOWS) for c in (seed, checkpoint, healed))
    assert (after - exact).norm() < (before - exact).norm()


def test_masked_weights_stay_zero():
    checkpoint = random_masks(narrow())
    healed, _ = reconstruct(student(checkpoint, None), small(), WINDOWS, FULL)
    for name in linear_names(checkpoint):
        assert (healed.weights[name][~checkpoint.masks.weights[name]] == 0).all()
        assert not torch.equal(healed.weights[name], checkpoint.weights[name])


def test_an_error_that_is_not_finite_names_its_block():
    with pytest.raises(NumericalError, match="block 0.*learning rate"):
        reconstruct(student(narrow(), None), small(), WINDOWS, replace(FULL, learning_rate=1e30))
