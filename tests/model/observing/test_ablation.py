"""Silencing nodes by hooks: the same as zero columns, from any layer on, and nothing stays
behind.
"""

import pytest
import torch
from families import FAMILIES, all_but, logits, shape_of, small, tokens
from families import silenced as zeroed

from birdbone.errors import NumericalError
from birdbone.model.judging.evaluate import losses
from birdbone.model.network import build
from birdbone.model.observing.ablation import ablated_divergences, ablated_losses, silenced

WINDOWS = tokens(rows=6, length=16)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pass_without_nodes_is_one_through_zeroed_columns(name):
    checkpoint = small(name)
    sets = [
        {0: torch.tensor([1, 5])},
        {1: torch.arange(40)},
        {0: torch.tensor([7]), 1: torch.tensor([2, 3])},
    ]
    found = ablated_losses(build(checkpoint), checkpoint.layout, WINDOWS, sets, "test")
    assert found.shape == (4, 6)
    states = [checkpoint] + [
        zeroed(
            checkpoint,
            {
                i: all_but(shape_of(checkpoint)[i][0], *nodes.tolist())
                for i, nodes in chosen.items()
            },
            {},
        )
        for chosen in sets
    ]
    for row, state in zip(found, states, strict=True):
        assert torch.allclose(row, losses(build(state), WINDOWS), rtol=1e-5)
    assert (found[1:] != found[0]).any(1).all()


def test_divergences_are_from_the_intact_network():
    checkpoint = small()
    sets = [{0: torch.tensor([1, 5])}, {1: torch.arange(40)}]
    found = ablated_divergences(build(checkpoint), checkpoint.layout, WINDOWS, sets, "test")
    whole = logits(build(checkpoint), WINDOWS.long())[:, :-1].log_softmax(-1)
    for row, chosen in zip(found, sets, strict=True):
        gone = {
            i: all_but(shape_of(checkpoint)[i][0], *nodes.tolist()) for i, nodes in chosen.items()
        }
        ours = logits(build(zeroed(checkpoint, gone, {})), WINDOWS.long())[:, :-1].log_softmax(-1)
        expected = (whole.exp() * (whole - ours)).sum((-1, -2)).double()
        assert torch.allclose(row, expected, rtol=1e-3, atol=1e-5) and (row > 0).all()


def test_the_network_is_as_before_afterwards():
    checkpoint = small()
    network, digest = build(checkpoint), checkpoint.digest
    before = logits(network, WINDOWS.long())
    with silenced(network, checkpoint.layout, {0: torch.arange(64)}):
        assert not torch.equal(logits(network, WINDOWS.long()), before)
    ablated_losses(network, checkpoint.layout, WINDOWS, [{1: torch.arange(9)}], "test")
    assert torch.equal(logits(network, WINDOWS.long()), before) and checkpoint.digest == digest


def test_it_is_as_before_after_an_error_too():
    checkpoint = small()
    network = build(checkpoint)
    before = logits(network, WINDOWS.long())
    with pytest.raises(ValueError, match="layer 1 has 128 nodes, asked to silence 128"):
        ablated_losses(network, checkpoint.layout, WINDOWS, [{1: torch.tensor([128])}], "test")
    assert torch.equal(logits(network, WINDOWS.long()), before)


def test_a_loss_that_is_not_finite_is_refused():
    checkpoint = small()
    name = f"{checkpoint.layout.blocks[1].ffn_output}.weight"
    broken = checkpoint.evolve({name: torch.full_like(checkpoint.weights[name], torch.nan)})
    with pytest.raises(NumericalError, match="not finite"):
        ablated_losses(build(broken), broken.layout, WINDOWS, [{0: torch.tensor([0])}], "test")
