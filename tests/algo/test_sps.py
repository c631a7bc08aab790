"""A·G is the weight gradient's norm, at the same position; scores follow their definitions."""

import math

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from birdbone.algo.sps import NodeMoments, block_norms, integral, node_sps, sps, taylor_scores, z


class OwnWeightPerToken(nn.Module):
    """A linear layer with a copy of its weight for every position, so that autograd keeps them apart."""

    def __init__(self, weight, tokens):
        super().__init__()
        self.weight = nn.Parameter(weight.detach().expand(tokens, *weight.shape).clone())

    def forward(self, x):
        return torch.einsum("bti,toi->bto", x, self.weight)


@pytest.fixture(scope="module")
def by_hand():
    """Input, output gradient and per-token weight gradient [T, out, in] of one layer in a tiny Llama."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)
    ids = torch.randint(0, 50, (1, 7))
    layer = OwnWeightPerToken(model.model.layers[0].mlp.up_proj.weight, 7)
    model.model.layers[0].mlp.up_proj = layer
    seen = {}

    def keep(module, inputs, output):
        seen["x"] = inputs[0][0].detach()
        output.register_hook(lambda g: seen.update(g=g[0]))

    layer.register_forward_hook(keep)
    logits = model(ids).logits[0, :-1]
    nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").backward()
    return seen["x"], seen["g"], layer.weight.grad


def block_frobenius(gradient, block=64):
    rows, columns = -(-gradient.shape[1] // block), -(-gradient.shape[2] // block)
    return torch.stack(
        [
            torch.stack(
                [
                    gradient[:, r * block : (r + 1) * block, c * block : (c + 1) * block].flatten(1).norm(dim=1)
                    for c in range(columns)
                ],
                dim=1,
            )
            for r in range(rows)
        ],
        dim=1,
    )


def test_a_times_g_is_the_norm_of_each_tokens_weight_gradient_block(by_hand):
    x, g, gradient = by_hand
    product = block_norms(x)[:, None, :] * block_norms(g)[:, :, None]
    assert product.shape == (7, 3, 2)
    torch.testing.assert_close(product, block_frobenius(gradient), rtol=1e-4, atol=1e-7)


def test_positions_match_and_one_step_off_does_not(by_hand):
    x, g, gradient = by_hand
    truth = block_frobenius(gradient)[1:-1]
    off_by_one = block_norms(x)[:-2, None, :] * block_norms(g)[1:-1, :, None]
    assert not torch.allclose(off_by_one, truth, rtol=1e-2)


def test_the_last_position_has_no_target_and_no_gradient(by_hand):
    _, g, gradient = by_hand
    assert block_norms(g)[-1].abs().max() == 0 and gradient[-1].abs().max() == 0
    assert (block_norms(g)[:-1] > 0).all()


def test_a_short_last_block_holds_what_is_left():
    norms = block_norms(torch.ones(3, 100))
    torch.testing.assert_close(norms, torch.tensor([[8.0, 6.0]]).expand(3, 2))


def test_block_norms_refuse_a_batch_dimension():
    with pytest.raises(ValueError, match="tokens, features"):
        block_norms(torch.ones(2, 3, 64))


def test_z_has_mean_zero_and_unit_deviation_and_is_zero_where_nothing_varies():
    x = torch.tensor([[1.0, 2.0, 6.0], [1e8, 1e8, 1e8]])
    scored = z(x, dim=1)
    assert scored[0].mean().abs() < 1e-6
    assert scored[0].std(correction=0) == pytest.approx(1)
    assert (scored[1] == 0).all()
    assert z(torch.tensor([3.0])).item() == 0


@pytest.fixture
def norms():
    generator = torch.Generator().manual_seed(1)
    layers = {"0.q": 0, "0.down": 0, "1.q": 1}
    columns, rows = {"0.q": 2, "0.down": 4, "1.q": 2}, {"0.q": 3, "0.down": 2, "1.q": 3}
    a = {n: torch.rand(5, c, generator=generator) * (1 + 9 * layers[n]) for n, c in columns.items()}
    g = {n: torch.rand(5, r, generator=generator) for n, r in rows.items()}
    return a, g, layers


def test_layer_scope_standardises_all_modules_of_a_layer_together(norms):
    a, g, layers = norms
    scored = sps(a, g, layers, scope="layer")
    joint = torch.cat([scored["0.q"].a, scored["0.down"].a], dim=1)
    assert joint.mean().abs() < 1e-6 and joint.std(correction=0) == pytest.approx(1, abs=1e-5)
    assert scored["0.q"].a.mean().abs() > 1e-3
    assert scored["1.q"].a.mean().abs() < 1e-6


def test_model_scope_keeps_the_difference_between_layers(norms):
    a, g, layers = norms
    scored = sps(a, g, layers, scope="model")
    assert scored["1.q"].a.mean() > 0 > scored["0.q"].a.mean()


def test_the_picture_is_z_of_a_less_z_of_g_per_block(norms):
    a, g, layers = norms
    scored = sps(a, g, layers)["0.down"]
    picture = scored.picture()
    assert picture.shape == (5, 2, 4)
    assert picture[3, 1, 2] == scored.a[3, 2] - scored.g[3, 1]


def test_unequal_positions_are_refused(norms):
    a, g, layers = norms
    g["0.q"] = g["0.q"][1:]
    with pytest.raises(ValueError, match="0.q: 5 positions of a, 4 of g"):
        sps(a, g, layers)


def test_integrals_sum_mean_and_penalise_swings():
    values = torch.tensor([[1.0, 4.0], [1.0, -2.0]])
    assert integral(values).tolist() == [2, 2]
    assert integral(values, "mean").tolist() == [1, 1]
    assert integral(values, "stable", delta=0.1).tolist() == pytest.approx([1, math.exp(-0.9)])


@pytest.fixture
def series():
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.randn(20, 6, generator=generator) * scale, torch.randn(20, 6, generator=generator)) for scale in (1, 3)
    ]


def moments_of(series, nodes=6):
    out = []
    for h, g in series:
        out.append(NodeMoments.zero(nodes).add(h[:7], g[:7]).add(h[7:], g[7:]))
    return out


@pytest.mark.parametrize("kind", ["sum", "mean", "stable"])
@pytest.mark.parametrize("scope", ["layer", "model"])
def test_node_scores_from_sums_equal_those_from_the_whole_series(series, scope, kind):
    layers = {"0": 0, "1": 1}
    a = {str(i): h.abs() for i, (h, _) in enumerate(series)}
    g = {str(i): g.abs() for i, (_, g) in enumerate(series)}
    whole = sps(a, g, layers, scope)
    for i, score in enumerate(node_sps(moments_of(series), scope, kind)):
        truth = integral(whole[str(i)].a - whole[str(i)].g, kind)
        torch.testing.assert_close(score, truth, rtol=1e-4, atol=1e-4)


def test_taylor_is_activation_times_gradient(series):
    h, g = series[0]
    moments = moments_of(series)[0]
    torch.testing.assert_close(taylor_scores(moments), (h * g).abs().mean(0))
    torch.testing.assert_close(taylor_scores(moments, "signed"), (h * g).mean(0).abs())
    torch.testing.assert_close(taylor_scores(moments, "squared"), (h * g).square().mean(0).sqrt())


def test_a_wide_node_is_scored_as_one(series):
    h, g = series[0]
    moments = moments_of([(h, g)], nodes=2)[0]
    torch.testing.assert_close(taylor_scores(moments), (h * g).reshape(20, 2, 3).sum(-1).abs().mean(0))
    torch.testing.assert_close(moments.h.float(), h.reshape(20, 2, 3).norm(dim=-1).sum(0))


def test_moments_refuse_what_does_not_divide_into_nodes():
    with pytest.raises(ValueError, match="4 nodes"):
        NodeMoments.zero(4).add(torch.ones(2, 6), torch.ones(2, 6))
