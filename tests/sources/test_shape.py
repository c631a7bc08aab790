"""What `birdbone plan` reads from a config alone is what the weights are."""

from __future__ import annotations

from collections import Counter

import pytest
from families import FAMILIES, settings_of, small

from birdbone.sources.shape import model_shape


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_without_weights_are_those_of_the_weights(family: str) -> None:
    checkpoint = small(family)
    shape = model_shape({"kind": "random", "name": family, "config": settings_of(family)})
    blocks = {n: w for n, w in checkpoint.weights.items() if ".0." in n or ".1." in n}
    inner = Counter()
    for weight in blocks.values():
        if weight.dim() == 2:
            inner[weight.shape[1]] += weight.numel()

    assert shape.layers == checkpoint.layers == 2
    assert shape.parameters == checkpoint.parameters
    assert shape.block == checkpoint.block_parameters
    assert shape.inner == dict(inner)
    assert shape.outer == sum(
        w.numel() for n, w in checkpoint.weights.items() if n not in blocks and w.dim() == 2
    )


def test_gpt2_down_projection_reads_the_neurons() -> None:
    shape = model_shape({"kind": "random", "name": "gpt2", "config": settings_of("gpt2")})
    down_projections = shape.inner[4 * 64]
    assert down_projections == 2 * 64 * 256
