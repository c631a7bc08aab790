"""Walking block by block shows every linear layer the very inputs of an ordinary forward pass."""

import pytest
import torch
from families import FAMILIES, random_model, seen_by_hooks, small, tokens

from birdbone.model.blockwise import walk
from birdbone.model.network import blocks_of, build


@pytest.mark.parametrize("name", FAMILIES)
def test_inputs_are_those_of_an_ordinary_forward_pass(name):
    checkpoint = small(name)
    network, layout, windows = build(checkpoint), checkpoint.layout, tokens(rows=6)
    layers = []
    for layer, batches in walk(network, layout, windows, "walk", batch=4):
        parts = list(batches)
        assert [len(p[layout.blocks[layer].ffn_output]) for p in parts] == [80, 40]
        expected = seen_by_hooks(network, list(layout.blocks[layer].inputs), windows)
        for module, x in expected.items():
            torch.testing.assert_close(
                torch.cat([p[module] for p in parts]), x, atol=1e-5, rtol=1e-5
            )
        layers.append(layer)
    assert layers == [0, 1]


def test_what_is_changed_in_a_block_reaches_the_next_where_it_is_to_settle():
    checkpoint = small()
    layout, module = checkpoint.layout, checkpoint.layout.blocks[0].ffn_output
    other = checkpoint.evolve({f"{module}.weight": 0.5 * checkpoint.weights[f"{module}.weight"]})
    expected = seen_by_hooks(build(other), list(layout.blocks[1].inputs), tokens(rows=6))
    network = build(checkpoint)
    for layer, batches in walk(network, layout, tokens(rows=6), "walk", settle=True):
        parts = list(batches)
        if layer == 0:
            network.get_submodule(module).weight = torch.nn.Parameter(
                other.weights[f"{module}.weight"]
            )
    for name, x in expected.items():
        torch.testing.assert_close(torch.cat([p[name] for p in parts]), x, atol=1e-5, rtol=1e-5)


def test_gemmas_sliding_window_matters_here():
    near, far = random_model("gemma3_text"), random_model("gemma3_text", sliding_window=64)
    with torch.no_grad():
        found = [m(tokens(), use_cache=False).logits[:, -1] for m in (near, far)]
    assert not torch.allclose(*found, atol=1e-2)


def test_a_caller_may_leave_batches_unread():
    checkpoint = small()
    network, layout = build(checkpoint), checkpoint.layout
    partly = {}
    for layer, batches in walk(network, layout, tokens(8), "walk", batch=2):
        partly[layer] = next(iter(batches))
    expected = seen_by_hooks(network, [layout.blocks[1].ffn_output], tokens(8)[:2])
    torch.testing.assert_close(
        partly[1][layout.blocks[1].ffn_output],
        expected[layout.blocks[1].ffn_output],
        atol=1e-5,
        rtol=1e-5,
    )


def test_the_network_is_left_as_it_was():
    checkpoint = small()
    network = build(checkpoint)
    before = list(blocks_of(network, checkpoint.layout))
    for _ in walk(network, checkpoint.layout, tokens(), "walk"):
        pass
    assert list(blocks_of(network, checkpoint.layout)) == before
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_an_error_in_the_middle_leaves_the_network_whole():
    checkpoint = small()
    network = build(checkpoint)
    before = list(blocks_of(network, checkpoint.layout))
    with pytest.raises(IndexError):
        next(iter(walk(network, checkpoint.layout, torch.full((1, 4), 10_000), "walk")))
    assert list(blocks_of(network, checkpoint.layout)) == before
