"""Activations and gradients of a scan are those of autograd by hand, at the same positions."""

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, small, tokens

from birdbone.errors import NumericalError
from birdbone.model.network import build
from birdbone.model.observing.gradients import gradients, node_moments


def by_hand(network, name, ids):
    """(h, ∂L/∂h) at a module's input [T, in] and ∂L/∂output [T, out], through retained graph
    tensors.
    """
    kept = {}

    def note(_, args, output):
        args[0].retain_grad()
        output.retain_grad()
        kept["h"], kept["out"] = args[0], output

    handle = network.get_submodule(name).register_forward_hook(note)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    logits = network(ids[None], use_cache=False).logits[0]
    F.cross_entropy(logits[:-1], ids[1:], reduction="sum").backward()
    handle.remove()
    return kept["h"].detach()[0], kept["h"].grad[0], kept["out"].grad[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_pairs_are_the_input_and_the_output_gradient_of_each_position(name):
    checkpoint, ids = small(name), tokens()[0]
    for module in checkpoint.layout.blocks[0].linears:
        h, _, grad = by_hand(build(checkpoint), module, ids)
        found_h, found_grad = gradients(build(checkpoint), [module], ids)[module]
        torch.testing.assert_close(found_h, h[:-1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found_grad, grad[:-1], atol=1e-5, rtol=1e-4)
        assert not grad[-1].any()


@pytest.mark.parametrize("name", FAMILIES)
def test_node_moments_are_sums_of_activation_times_gradient(name):
    checkpoint, windows = small(name), tokens(rows=2)
    layout = checkpoint.layout
    nodes, fisher, weights = node_moments(build(checkpoint), layout, windows, "scan")
    parts = {"ffn": layout.blocks[1].ffn_output, "kv": layout.blocks[1].output}
    for kind, module in parts.items():
        found = nodes[kind, 1]
        groups = 1 if kind == "ffn" else layout.blocks[1].kv_heads
        products, squared, by_token = 0, 0, []
        for ids in windows:
            h, grad_h, grad_out = by_hand(build(checkpoint), module, ids)
            product = (h * grad_h)[:-1]
            product = product if kind == "ffn" else product.unflatten(1, (groups, -1)).sum(-1)
            products = products + product.abs().sum(0)
            squared = squared + grad_out[:-1].square().sum(0)
            by_token.append(grad_out.square().mean(1))
        assert found.tokens == 2 * 19
        torch.testing.assert_close(found.taylor_absolute.float(), products, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(fisher[module], squared / (2 * 19), atol=1e-6, rtol=1e-3)
        expected = torch.stack(by_token)
        torch.testing.assert_close(
            weights[module], expected / expected[:, :-1].mean(), atol=1e-5, rtol=1e-3
        )


def test_gradients_that_are_all_zero_name_their_module():
    checkpoint = small()
    dead = "model.layers.0.mlp.down_proj"
    for name in ("model.layers.0.mlp.down_proj.weight", "model.norm.weight"):
        checkpoint.weights[name] = torch.zeros_like(checkpoint.weights[name])
    with pytest.raises(NumericalError, match=rf"{dead}.*every gradient is zero"):
        gradients(build(checkpoint), [dead], tokens()[0])


def test_gradients_that_are_not_finite_name_their_module():
    checkpoint = small()
    checkpoint.weights["model.norm.weight"] = torch.full((64,), 1e38)
    with pytest.raises(NumericalError, match=r"model\.layers\.0\.mlp\.up_proj.*not finite"):
        gradients(build(checkpoint), ["model.layers.0.mlp.up_proj"], tokens()[0])


def test_no_weight_gets_a_gradient_and_no_hook_stays():
    checkpoint = small()
    network = build(checkpoint)
    gradients(network, checkpoint.layout.blocks[0].linears, tokens()[0])
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())


def test_of_two_tokens_the_first_has_no_query_to_learn():
    checkpoint = small()
    names = checkpoint.layout.blocks[0].linears
    pairs = gradients(build(checkpoint), names, tokens(rows=1, length=2)[0])
    assert all(grad.shape[0] == 1 and grad.isfinite().all() for _, grad in pairs.values())
    assert float(pairs[names[0]][1].abs().max()) < 1e-6 < float(pairs[names[2]][1].abs().max())
