"""The head: a network's own logits from its final states, by way of divisor and cap."""

import pytest
import torch
from families import FAMILIES, logits, small, tokens

from birdbone.model.head import Head, hidden_states
from birdbone.model.network import build


@pytest.mark.parametrize("name", FAMILIES)
def test_it_gives_the_networks_logits_from_its_final_states(name):
    checkpoint = small(name)
    network = build(checkpoint)
    with torch.no_grad():
        (states,) = hidden_states(network, tokens())
        ours = Head.of(checkpoint).logits(states)
    torch.testing.assert_close(ours, logits(network, tokens()), atol=1e-5, rtol=1e-5)
    assert torch.equal(Head.of(checkpoint).sharing(network).weight, Head.of(checkpoint).weight)


def test_granites_logits_are_divided():
    head = Head.of(small("granite"))
    assert head.divisor == 0.75 and Head.of(small("llama")).divisor == 1
    whole = Head.of(small("granite", logits_scaling=1.0))
    states = torch.randn(2, 64)
    torch.testing.assert_close(head.logits(states), whole.logits(states) / 0.75)


def test_a_cap_comes_after_the_divisor():
    weight, states = torch.randn(5, 4), 10 * torch.randn(3, 4)
    capped = Head(weight, cap=2.0, divisor=4.0).logits(states)
    torch.testing.assert_close(capped, 2 * torch.tanh(states @ weight.T / 4 / 2))
    assert capped.abs().max() <= 2


def test_divisor_and_cap_stay_on_another_device_and_in_another_precision():
    head = Head(torch.randn(5, 4), cap=2.0, divisor=4.0).to("cpu", torch.bfloat16)
    assert (head.cap, head.divisor, head.weight.dtype) == (2.0, 4.0, torch.bfloat16)
    assert head.logits(torch.randn(3, 4)).dtype == torch.bfloat16
