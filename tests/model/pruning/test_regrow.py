"""Neurons return where the gradient is largest, and take up what the layer's output lacked."""

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, all_but, cut, logits, random_masks, shape_of, small, tokens

from birdbone.model.network import build
from birdbone.model.pruning.regrow import _ffn_inputs, _gains, regrow
from birdbone.model.pruning.removal import return_nodes
from birdbone.model.units import Nodes

families = pytest.mark.parametrize("name", FAMILIES)
WINDOWS = tokens(rows=6, length=24)
GONE = {0: range(20, 84), 1: range(5, 37)}


def pair(name: str = "llama"):
    """(narrow, seed): 96 neurons of the seed's first two layers are gone."""
    seed = small(name)
    width, _ = shape_of(seed)[0]
    return cut(seed, {i: all_but(width, *gone) for i, gone in GONE.items()}, {}), seed


def norms_by_autograd(checkpoint, seed, layer: int) -> torch.Tensor:
    """‖∂L/∂W_down[:, j]‖ of the removed neurons with incoming rows restored and outgoing columns zero."""
    gone = torch.tensor(list(GONE[layer]))
    hidden = seed.weights[f"{seed.layout.blocks[layer].ffn_output}.weight"].shape[0]
    restored = return_nodes(checkpoint, seed, Nodes("ffn", layer), gone, torch.zeros(hidden, len(gone)))
    network = build(restored)
    torch.testing.assert_close(logits(network, WINDOWS), logits(build(checkpoint), WINDOWS), atol=1e-5, rtol=1e-5)
    weight = network.get_submodule(seed.layout.blocks[layer].ffn_output).weight.requires_grad_(True)
    for ids in WINDOWS:
        out = network(ids[None], use_cache=False).logits[0, :-1]
        F.cross_entropy(out, ids[1:], reduction="sum").backward()
    places = torch.nonzero(~checkpoint.masks.nodes["ffn", layer][restored.masks.nodes["ffn", layer]]).flatten()
    return weight.grad[:, places].norm(dim=0)


@families
def test_scores_are_the_gradients_of_columns_that_are_still_zero(name):
    checkpoint, seed = pair(name)
    removed = {i: torch.tensor(list(gone)) for i, gone in GONE.items()}
    gains = _gains(build(checkpoint), build(seed), seed.layout, removed, WINDOWS)
    for layer in GONE:
        torch.testing.assert_close(gains[layer], norms_by_autograd(checkpoint, seed, layer), atol=1e-4, rtol=1e-3)


def lacks(checkpoint, seed, layer: int) -> float:
    """How far the layer's FFN is from the seed's, on the inputs it has in the narrow network."""
    ours, theirs = build(checkpoint), build(seed)
    block = seed.layout.blocks[layer].ffn_output.rpartition(".")[0]
    total = 0.0
    for ids in WINDOWS:
        x = _ffn_inputs(ours, seed.layout, [layer], ids)[layer]
        with torch.no_grad():
            total += (theirs.get_submodule(block)(x) - ours.get_submodule(block)(x)).square().sum().item()
    return total


@families
def test_what_returns_lowers_the_residual_and_keeps_widths_multiples(name):
    checkpoint, seed = pair(name)
    grown, returned = regrow(checkpoint, seed, WINDOWS, share=1.0, multiple=32, device="cpu")
    assert returned == {"0": 64, "1": 32}
    assert lacks(grown, seed, 0) < 0.2 * lacks(checkpoint, seed, 0)
    assert all(grown.count("ffn", i) == seed.count("ffn", i) for i in range(2))
    some, returned = regrow(checkpoint, seed, WINDOWS, share=0.4, multiple=32, device="cpu")
    (layer,) = map(int, returned)
    assert returned == {str(layer): 32} and some.count("ffn", layer) % 32 == 0
    assert lacks(some, seed, layer) < 0.9 * lacks(checkpoint, seed, layer)


def test_returning_neurons_have_the_seeds_rows_in_the_seeds_order():
    checkpoint, seed = pair()
    grown, _ = regrow(checkpoint, seed, WINDOWS, share=0.4, multiple=32, device="cpu")
    for layer in range(2):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        assert torch.equal(grown.weights[name], seed.weights[name][grown.masks.nodes["ffn", layer]])
        kept, now = checkpoint.masks.nodes["ffn", layer], grown.masks.nodes["ffn", layer]
        assert (now | ~kept).all()
        down = f"model.layers.{layer}.mlp.down_proj.weight"
        assert torch.equal(grown.weights[down][:, kept[now]], checkpoint.weights[down])


@pytest.mark.parametrize(("share", "expected"), [(0.05, 0), (0.3, 0), (0.34, 32), (0.7, 64)])
def test_no_more_than_the_share_returns(share, expected):
    checkpoint, seed = pair()
    grown, returned = regrow(checkpoint, seed, WINDOWS, share=share, multiple=32, device="cpu")
    assert sum(returned.values()) == expected <= share * 96
    assert (grown is checkpoint) is (expected == 0)


def test_a_whole_model_has_nothing_to_regrow():
    seed = small()
    assert regrow(seed, seed, WINDOWS, share=1.0, multiple=32, device="cpu") == (seed, {})


def test_returning_neurons_are_unmasked_and_old_masks_stay():
    checkpoint, seed = pair()
    masked = random_masks(checkpoint)
    grown, _ = regrow(masked, seed, WINDOWS, share=1.0, multiple=32, device="cpu")
    assert grown.masks.weights.keys() == masked.masks.weights.keys()
    for name, mask in grown.masks.weights.items():
        assert mask.shape == grown.weights[name].shape
    kept = checkpoint.masks.nodes["ffn", 0]
    name = "model.layers.0.mlp.up_proj.weight"
    mask = grown.masks.weights[name]
    assert torch.equal(mask[kept], masked.masks.weights[name]) and mask[~kept].all()
    assert logits(build(grown), WINDOWS).isfinite().all()
