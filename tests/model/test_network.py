"""Checkpoints become networks that compute what transformers computes, and go back unchanged."""

import pytest
import torch
from families import (
    FAMILIES,
    checkpoint_of,
    logits,
    random_model,
    small,
    tokens,
)
from transformers import AutoModelForCausalLM

from birdbone.errors import NumericalError, SourceError
from birdbone.model.network import build, canonical, hf_config, stock_state, weights_of

families = pytest.mark.parametrize("name", FAMILIES)


@families
def test_a_built_network_gives_the_logits_of_transformers(name):
    model = random_model(name)
    torch.testing.assert_close(
        logits(build(checkpoint_of(model)), tokens()), logits(model, tokens()), atol=1e-5, rtol=0
    )


@families
def test_the_random_models_are_not_trivial(name):
    found = logits(random_model(name), tokens())
    assert found.std() > 0.1 and not torch.allclose(found[0, 5], found[0, 6], atol=0.1)


@families
def test_a_stock_model_takes_the_stock_state(name):
    checkpoint = small(name)
    stock = AutoModelForCausalLM.from_config(hf_config(checkpoint.config)).eval()
    missing, unexpected = stock.load_state_dict(stock_state(checkpoint), strict=False)
    tied = ["lm_head.weight"] if checkpoint.config["tie_word_embeddings"] else []
    assert missing == tied and not unexpected
    stock.tie_weights()
    torch.testing.assert_close(
        logits(stock, tokens()), logits(build(checkpoint), tokens()), atol=1e-5, rtol=0
    )


@families
@pytest.mark.parametrize("tied", [True, False])
def test_heads_stay_tied_or_apart(name, tied):
    model = random_model(name, tie_word_embeddings=tied)
    checkpoint = checkpoint_of(model)
    assert ("lm_head.weight" in checkpoint.weights) is not tied
    network = build(checkpoint)
    assert (network.get_output_embeddings().weight is network.get_input_embeddings().weight) is tied
    torch.testing.assert_close(
        logits(network, tokens()), logits(model, tokens()), atol=1e-5, rtol=0
    )


def test_an_untied_head_that_equals_the_embedding_is_left_out():
    model = random_model("llama", tie_word_embeddings=False)
    model.lm_head.weight.data.copy_(model.model.embed_tokens.weight)
    checkpoint = checkpoint_of(model)
    assert "lm_head.weight" not in checkpoint.weights
    torch.testing.assert_close(
        logits(build(checkpoint), tokens()), logits(model, tokens()), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    model = random_model("gpt2")
    model.transformer.h[1].mlp.c_fc.weight.data[3, 4] = value
    with pytest.raises(NumericalError, match=r"transformer\.h\.1\.mlp\.c_fc\.weight"):
        canonical(model.state_dict(), model.config.to_dict())


@families
def test_every_linear_weight_is_out_by_in(name):
    checkpoint = small(name)
    for layer in range(checkpoint.layers):
        hidden = 64
        for module in checkpoint.layout.blocks[layer].ffn_inputs:
            assert checkpoint.weights[f"{module}.weight"].shape[1] == hidden
        down = f"{checkpoint.layout.blocks[layer].ffn_output}.weight"
        assert checkpoint.weights[down].shape[0] == hidden
        for module in checkpoint.layout.blocks[layer].attention_inputs:
            assert checkpoint.weights[f"{module}.weight"].shape[1] == hidden


@families
def test_weights_read_back_from_a_network_are_the_checkpoints(name):
    checkpoint = small(name)
    found = weights_of(build(checkpoint), checkpoint)
    assert found.keys() == checkpoint.weights.keys()
    assert all(torch.equal(found[n], w) for n, w in checkpoint.weights.items())


def test_a_missing_weight_is_named():
    checkpoint = small()
    del checkpoint.weights["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(SourceError, match=r"layers\.1\.mlp\.up_proj"):
        build(checkpoint)
