"""Streamed networks compute what plain ones do, and leave their blocks where they are."""

import pytest
import torch
from families import FAMILIES, logits, small, tokens

from birdbone.model.blockwise import walk
from birdbone.model.healing.heal import heal
from birdbone.model.healing.recipe import Lora, Recipe
from birdbone.model.healing.trainable import student_of
from birdbone.model.network import blocks_of, build
from birdbone.model.observing.gradients import gradients, node_moments
from birdbone.model.streaming import too_large


@pytest.fixture
def streamed(monkeypatch):
    """Every network that is built without being told is streamed."""
    monkeypatch.setattr("birdbone.model.network.too_large", lambda *_: True)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_and_gradients_are_those_of_the_plain_network(name):
    checkpoint, ids = small(name), tokens()
    plain, other = build(checkpoint, streamed=False), build(checkpoint, streamed=True)
    assert torch.equal(logits(other, ids), logits(plain, ids))
    modules = checkpoint.layout.linears
    wanted, found = gradients(plain, modules, ids[0]), gradients(other, modules, ids[0])
    for module in modules:
        assert all(torch.equal(a, b) for a, b in zip(wanted[module], found[module], strict=True))


def test_gradients_hold_no_block_that_has_left(monkeypatch):
    import weakref

    import birdbone.model.streaming as module

    visits: list[list[weakref.ref]] = []

    def call(block, moved, *rest):
        held = sum(any(w() is not None for w in visit) for visit in visits)
        visits.append([weakref.ref(w) for w in moved.values()])
        assert held <= 1, "blocks of earlier visits are still there"
        return torch.func.functional_call(block, moved, *rest)

    monkeypatch.setattr(module, "functional_call", call)
    checkpoint = small(num_hidden_layers=4)
    modules = checkpoint.layout.linears
    gradients(build(checkpoint, dtype=torch.bfloat16, streamed=True), modules, tokens()[0])
    assert len(visits) == 2 * checkpoint.layers


def test_blocks_stay_the_checkpoints_own_in_its_precision():
    checkpoint = small()
    network = build(checkpoint, dtype=torch.bfloat16, streamed=True)
    for name, parameter in blocks_of(network, checkpoint.layout).named_parameters():
        assert parameter.data_ptr() == checkpoint.weights[f"model.layers.{name}"].data_ptr()
    assert network.get_input_embeddings().weight.dtype == torch.bfloat16
    assert torch.equal(
        logits(network, tokens()), logits(build(checkpoint, dtype=torch.bfloat16), tokens())
    )


def test_on_the_way_back_only_the_blocks_inputs_wait():
    """Without recomputation autograd keeps every weight that the way back needs; with it, none."""
    checkpoint, ids, kept = small(), tokens().long(), []
    weights = {
        w.shape
        for n, w in checkpoint.weights.items()
        if n.startswith("model.layers") and w.dim() == 2
    }

    def held(network) -> int:
        kept.clear()
        network.get_input_embeddings().register_forward_hook(
            lambda m, a, out: out.requires_grad_(True)
        )
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t.shape) or t, lambda t: t
        ):
            network(ids, use_cache=False)
        return sum(shape in weights or shape[::-1] in weights for shape in kept)

    assert held(build(checkpoint, streamed=False)) >= 7 * checkpoint.layers
    assert held(build(checkpoint, streamed=True)) == 0


@pytest.mark.parametrize("lora", [Lora(rank=4), None], ids=["lora", "full"])
def test_healing_a_streamed_network_gives_the_same_weights(lora, streamed, monkeypatch):
    seed, windows = small(), tokens(rows=4)
    start = seed.evolve({n: w * 0.9 for n, w in seed.weights.items() if "mlp" in n})
    recipe = Recipe(steps=3, batch=2, learning_rate=1e-3, checkpoint_every=100, compute="float32")

    def healing():
        return heal(student_of(start, lora, 0, "cpu"), seed, windows, windows, recipe)

    healed = healing()
    monkeypatch.setattr("birdbone.model.network.too_large", lambda *_: False)
    whole = healing()
    assert [row["loss"] for row in healed.curve] == [row["loss"] for row in whole.curve]
    assert healed.checkpoint.digest == whole.checkpoint.digest != start.digest


def test_scan_and_walk_take_streamed_networks():
    checkpoint, windows = small(), tokens(rows=2)
    for streamed in (False, True):
        network, layout = build(checkpoint, streamed=streamed), checkpoint.layout
        nodes, fisher, _ = node_moments(network, layout, windows, "scan")
        seen = [
            {n: x.sum() for n, x in batch.items()}
            for _, batches in walk(network, layout, windows, "walk")
            for batch in batches
        ]
        if not streamed:
            wanted = (nodes["ffn", 1].taylor_absolute, fisher, seen)
    assert torch.equal(nodes["ffn", 1].taylor_absolute, wanted[0])
    assert all(torch.equal(fisher[n], wanted[1][n]) for n in fisher)
    assert seen == wanted[2]


def test_only_what_is_too_large_for_a_gpu_is_streamed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 << 30, 12 << 30))
    assert (
        too_large(14 << 30, "cuda")
        and not too_large(4 << 30, "cuda:0")
        and not too_large(14 << 30, "cpu")
    )
