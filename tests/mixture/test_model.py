"""A dense model as a mixture in stock transformers: exact with all experts on, a plain sum with some."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from two_layer_models import all_but, checkpoint_of, logits, random_model, small, tokens

from birdbone.algo.mixture import TINY
from birdbone.errors import ConfigError, UnsupportedArchitectureError
from birdbone.mixture.model import (
    Mixture,
    check_family,
    set_active,
    shape_for,
    stock_network,
    write_stock,
)
from birdbone.mixture.routing import routing_student
from birdbone.mixture.split import Split, evened, mixture_from, split_layers
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.heal import heal
from birdbone.model.healing.trainable import HealSettings
from birdbone.model.judging.evaluate import kl_divergence
from birdbone.model.network import build
from birdbone.model.pruning.removal import remove_nodes

SETTINGS = {"rank": 1, "ce_weight": 0.0, "base": "float32", "merge_onto": "weights", "compute": "float32"}


def split(checkpoint: Checkpoint, experts: int = 6) -> Split:
    """The checkpoint cut at random and by topology, from random profiles."""
    generator = torch.Generator().manual_seed(2)
    layers = range(checkpoint.layers)
    profiles = {i: torch.randn(128, 40, generator=generator) for i in layers}
    clusters = {i: torch.randint(0, 3, (128,), generator=generator) for i in layers}
    even, profiles, clusters = evened(checkpoint, profiles, clusters)
    shape = shape_for(len(profiles[0]), experts, 0.25)
    cuts = split_layers(even, profiles, clusters, tokens(8), shape, ("topology", "random"), 0.1, 0, "cpu")
    return Split(cuts, **dataclasses.asdict(shape), active=2, grouping="topology")


@pytest.fixture(scope="module")
def dense() -> Checkpoint:
    return small("llama")


@pytest.fixture(scope="module")
def mixture(dense: Checkpoint) -> Mixture:
    cut = split(dense)
    return mixture_from(dense, cut)


def mean_kl(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """In float64: float32's own noise is 1e-8."""
    s, t = student.double().log_softmax(-1), teacher.double().log_softmax(-1)
    return (t.exp() * (t - s)).sum(-1).mean().item()


def switched(checkpoint: Checkpoint, mixture: Mixture, ids: torch.Tensor) -> torch.Tensor:
    """The mixture computed by the dense network with neurons switched off, as healing does it."""
    student, _ = routing_student(mixture, "cpu")
    return logits(student.network, ids)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"num_key_value_heads": 4}])
def test_with_all_experts_on_it_is_the_dense_model(changes: dict) -> None:
    dense = small("llama", **changes)
    cut = split(dense)
    network = stock_network(mixture_from(dense, cut), active=6)
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
def test_with_some_on_it_is_the_shared_expert_plus_the_chosen(dense: Checkpoint, mixture: Mixture, active: int) -> None:
    some = dataclasses.replace(mixture, active=active)
    ours = logits(stock_network(some), tokens())
    by_token = kl_divergence(ours, switched(dense, some, tokens())).flatten()
    assert by_token.median() < 1e-6
    assert mean_kl(ours, logits(build(dense), tokens())) > 1e-4


def test_the_number_of_experts_on_is_a_setting_of_the_network(mixture: Mixture) -> None:
    network = stock_network(mixture, active=5)
    set_active(network, 2)
    assert torch.equal(logits(network, tokens()), logits(stock_network(mixture, active=2), tokens()))


def test_a_written_folder_loads_with_stock_from_pretrained(mixture: Mixture, tmp_path: Path) -> None:
    write_stock(mixture, tmp_path)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(stock).__name__ == "Glm4MoeForCausalLM" and stock.dtype == torch.float32
    assert torch.equal(logits(stock, tokens()), logits(stock_network(mixture), tokens()))
    assert stock.model.layers[1].mlp.gate.weight.abs().max() < 100 * TINY


def test_every_node_is_in_one_place_and_groupings_share_the_shared_expert(dense: Checkpoint) -> None:
    cut = split(dense)
    for layer in range(2):
        one, other = (cut.groupings[name][layer].order.long() for name in ("topology", "random"))
        assert one.sort().values.tolist() == other.sort().values.tolist() == list(range(128))
        assert torch.equal(one[: cut.shared], other[: cut.shared]) and not torch.equal(one, other)
        assert cut.groupings["random"][layer].router.shape == (6, 64)


def test_narrower_layers_get_nodes_of_no_weight(dense: Checkpoint) -> None:
    narrow = remove_nodes(dense, {1: all_but(128, *range(0, 64, 2))}, {})
    cut = split(narrow)
    network = stock_network(mixture_from(narrow, cut), active=6)
    assert mean_kl(logits(network, tokens()), logits(build(narrow), tokens())) < 1e-6


def test_healed_routers_follow_the_teacher_better_and_a_killed_heal_goes_on(
    dense: Checkpoint, mixture: Mixture, tmp_path: Path
) -> None:
    lost = dataclasses.replace(mixture, routers=[-r for r in mixture.routers])
    windows = tokens(16)

    def healed(workdir: Path | None = None, killed_at: int | None = None) -> tuple[list[torch.Tensor], list[dict]]:
        def on_step(row: dict) -> None:
            if row["step"] == killed_at:
                raise KeyboardInterrupt

        student, routers = routing_student(lost, "cpu")
        recipe = HealSettings(steps=12, batch=4, learning_rate=0.3, checkpoint_every=4, **SETTINGS)
        found = heal(
            lost.dense, dense, windows, windows, recipe, 0, "cpu", workdir, on_step, "heal", lambda *_: student
        )
        assert found.kept > 0
        return routers(), found.curve

    routers, curve = healed()
    assert sum(row["kl"] for row in curve[-4:]) < 0.95 * sum(row["kl"] for row in curve[:4])
    better = dataclasses.replace(lost, routers=routers)
    wanted = logits(build(dense), windows)
    assert mean_kl(logits(stock_network(better), windows), wanted) < mean_kl(
        logits(stock_network(lost), windows), wanted
    )
    all_on = stock_network(better, active=6)
    assert mean_kl(logits(all_on, windows), wanted) < 1e-6  # the experts are still the dense ones
    with pytest.raises(KeyboardInterrupt):
        healed(tmp_path, killed_at=9)
    resumed, again = healed(tmp_path)
    assert again == curve
    assert all(torch.equal(a, b) for a, b in zip(routers, resumed, strict=True))


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
    with pytest.raises(UnsupportedArchitectureError, match=f"{fault}.*llama or mistral, SiLU, no biases"):
        check_family(checkpoint_of(random_model(name, **changes)))


def test_llama_and_mistral_are_taken_and_a_window_ends_the_context() -> None:
    check_family(small("llama"))
    windowed = small("mistral")
    check_family(windowed)
    cut = split(windowed)
    network = stock_network(mixture_from(windowed, cut), active=6)
    assert network.config.max_position_embeddings == 8
    short = tokens(length=8)
    assert mean_kl(logits(network, short), logits(build(windowed), short)) < 1e-6


def test_experts_that_do_not_fit_name_those_that_do() -> None:
    assert dataclasses.astuple(shape_for(1536, 8, 1 / 3)) == (8, 128, 512)
    with pytest.raises(
        ConfigError, match=r"moe\.split\.experts: 1536 nodes do not divide into 9 experts.*these fit: .*\b8\b"
    ):
        shape_for(1536, 9, 1 / 3)
    with pytest.raises(ConfigError, match=r"multiples of 32.*these fit: 2, "):
        shape_for(1536, 64, 1 / 3, multiple=32)
    with pytest.raises(ConfigError, match=r"moe\.split\.experts: 200 experts, but a layer has 128 nodes"):
        shape_for(128, 200, 0.25)
