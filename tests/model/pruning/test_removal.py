"""What is left after a removal computes as if the removed nodes were silent."""

import pytest
import torch
from families import (
    FAMILIES,
    all_but,
    cut,
    logits,
    random_masks,
    shape_of,
    silenced,
    small,
    tokens,
)

from birdbone.model.network import build

families = pytest.mark.parametrize("name", FAMILIES)


@families
@pytest.mark.parametrize("kind", ["neurons", "groups", "both"])
def test_a_narrow_network_equals_the_full_one_with_its_nodes_silenced(name, kind):
    checkpoint = small(name)
    width, count = shape_of(checkpoint)[1]
    neurons = (
        {0: all_but(width, *range(7, 39)), 1: all_but(width, *range(0, 64))}
        if kind != "groups"
        else {}
    )
    groups = {1: all_but(count, 0)} if kind != "neurons" else {}
    narrow = cut(checkpoint, neurons, groups)
    assert narrow.parameters < checkpoint.parameters
    torch.testing.assert_close(
        logits(build(narrow), tokens()),
        logits(build(silenced(checkpoint, neurons, groups)), tokens()),
        atol=1e-5,
        rtol=0,
    )


def test_masks_keep_the_seeds_numbering_over_two_removals():
    first = cut(small(), {0: all_but(128, 3, 5)}, {})
    second = cut(first, {0: all_but(126, 3, 4)}, {})
    gone = torch.nonzero(~second.masks.nodes["ffn", 0]).flatten()
    assert gone.tolist() == [3, 4, 5, 6]
    kept = second.masks.nodes["ffn", 0]
    assert torch.equal(
        second.weights["model.layers.0.mlp.up_proj.weight"],
        small().weights["model.layers.0.mlp.up_proj.weight"][kept],
    )


def test_weight_masks_are_cut_with_their_weights():
    masked = random_masks(small())
    narrow = cut(masked, {0: all_but(128, *range(32))}, {1: all_but(2, 1)})
    assert narrow.masks.weights.keys() == masked.masks.weights.keys()
    for name, mask in narrow.masks.weights.items():
        assert mask.shape == narrow.weights[name].shape and not narrow.weights[name][~mask].any()
