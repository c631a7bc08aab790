"""A dense model as a mixture in stock transformers: exact with all experts on, a plain sum with
some.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from families import checkpoint_of, logits, random_model, small, tokens
from mixture_cases import mean_kl, split
from transformers import AutoModelForCausalLM

from birdbone.algo.mixture import TINY
from birdbone.errors import ConfigError, UnsupportedArchitectureError
from birdbone.mixture.model import (
    Mixture,
    check_family,
    expert_shape,
    set_active,
    stock_network,
    write_stock,
)
from birdbone.mixture.routing import routing_student
from birdbone.mixture.split import mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.evaluate import kl_divergence
from birdbone.model.network import build


def switched(checkpoint: Checkpoint, mixture: Mixture, ids: torch.Tensor) -> torch.Tensor:
    """The mixture computed by the dense network with neurons switched off, as healing does it."""
    student, _ = routing_student(mixture, "cpu")
    return logits(student.network, ids)


@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": False}, {"num_key_value_heads": 4}]
)
def test_with_all_experts_on_it_is_the_dense_model(changes: dict) -> None:
    dense = small("llama", **changes)
    network = stock_network(mixture_from(dense, split(dense)), active=6)
    ours, theirs = logits(network, tokens()), logits(build(dense), tokens())
    assert theirs.std() > 0.5
    assert mean_kl(ours, theirs) < 1e-6
    assert (ours - theirs).abs().max() < 1e-2


@pytest.mark.parametrize(("size", "limit"), [(1e-4, 1e-7), (0.0, 1e-11)])
def test_the_smaller_its_routers_the_nearer_it_is(
    dense: Checkpoint, mixture: Mixture, size: float, limit: float
) -> None:
    network = stock_network(dataclasses.replace(mixture, size=size), active=6)
    assert mean_kl(logits(network, tokens()), logits(build(dense), tokens())) < limit


@pytest.mark.parametrize("active", [1, 2, 5])
def test_with_some_on_it_is_the_shared_expert_plus_the_chosen(
    dense: Checkpoint, mixture: Mixture, active: int
) -> None:
    some = dataclasses.replace(mixture, active=active)
    ours = logits(stock_network(some), tokens())
    by_token = kl_divergence(ours, switched(dense, some, tokens())).flatten()
    assert by_token.median() < 1e-6
    assert mean_kl(ours, logits(build(dense), tokens())) > 1e-4


def test_the_number_of_experts_on_is_a_setting_of_the_network(mixture: Mixture) -> None:
    network = stock_network(mixture, active=5)
    set_active(network, 2)
    assert torch.equal(
        logits(network, tokens()), logits(stock_network(mixture, active=2), tokens())
    )


def test_a_written_folder_loads_with_stock_from_pretrained(
    mixture: Mixture, tmp_path: Path
) -> None:
    write_stock(mixture, tmp_path)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(stock).__name__ == "Glm4MoeForCausalLM" and stock.dtype == torch.float32
    assert torch.equal(logits(stock, tokens()), logits(stock_network(mixture), tokens()))
    assert stock.model.layers[1].mlp.gate.weight.abs().max() < 100 * TINY


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("qwen3", {}, "model_type is 'qwen3'"),
        ("gpt2", {}, "model_type is 'gpt2'"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("llama-biases", {}, "is a bias"),
    ],
)
def test_another_family_is_refused_by_name(name: str, changes: dict, fault: str) -> None:
    with pytest.raises(
        UnsupportedArchitectureError, match=f"{fault}.*llama or mistral, SiLU, no biases"
    ):
        check_family(checkpoint_of(random_model(name, **changes)))


def test_llama_and_mistral_are_taken_and_a_window_ends_the_context() -> None:
    check_family(small("llama"))
    windowed = small("mistral")
    check_family(windowed)
    network = stock_network(mixture_from(windowed, split(windowed)), active=6)
    assert network.config.max_position_embeddings == 8
    short = tokens(length=8)
    assert mean_kl(logits(network, short), logits(build(windowed), short)) < 1e-6


def test_experts_that_do_not_fit_name_those_that_do() -> None:
    assert dataclasses.astuple(expert_shape(1536, 8, 1 / 3)) == (8, 128, 512)
    with pytest.raises(
        ConfigError,
        match=r"moe\.split\.experts: 1536 nodes do not divide into 9 experts.*these fit: .*\b8\b",
    ):
        expert_shape(1536, 9, 1 / 3)
    with pytest.raises(ConfigError, match=r"multiples of 32.*these fit: 2, "):
        expert_shape(1536, 64, 1 / 3, multiple=32)
    with pytest.raises(
        ConfigError, match=r"moe\.split\.experts: 200 experts, but a layer has 128 nodes"
    ):
        expert_shape(128, 200, 0.25)
