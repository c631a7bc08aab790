"""Walking block by block shows every linear layer the very inputs of an ordinary forward pass."""

import pytest
import torch
from two_layer_models import CONFIGS, family, random_model, small, tokens

from birdbone.algo.moments import second_moment
from birdbone.model.blockwise import walk
from birdbone.model.network import blocks_of, build
from birdbone.model.observing.moments import fold, moments, seal, store


@torch.no_grad()
def seen_by_hooks(network, names, ids):
    seen, handles = {}, []
    for name in names:
        handles.append(
            network.get_submodule(name).register_forward_pre_hook(
                lambda _, args, name=name: seen.__setitem__(name, args[0].flatten(0, -2))
            )
        )
    network(ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", CONFIGS)
def test_inputs_are_those_of_an_ordinary_forward_pass(name):
    checkpoint = small(name)
    network, architecture, windows = build(checkpoint), family(checkpoint), tokens(rows=6)
    layers = []
    for layer, batches in walk(network, architecture, windows, "walk", batch=4):
        parts = list(batches)
        assert [len(p[architecture.ffn_output(layer)]) for p in parts] == [80, 40]
        expected = seen_by_hooks(network, list(architecture.inputs_of(layer)), windows)
        for module, x in expected.items():
            torch.testing.assert_close(torch.cat([p[module] for p in parts]), x, atol=1e-5, rtol=1e-5)
        layers.append(layer)
    assert layers == [0, 1]


def test_what_is_changed_in_a_block_reaches_the_next_where_it_is_to_settle():
    checkpoint = small()
    architecture, module = family(checkpoint), family(checkpoint).ffn_output(0)
    other = checkpoint.evolve({f"{module}.weight": 0.5 * checkpoint.weights[f"{module}.weight"]})
    expected = seen_by_hooks(build(other), list(architecture.inputs_of(1)), tokens(rows=6))
    network = build(checkpoint)
    for layer, batches in walk(network, architecture, tokens(rows=6), "walk", settle=True):
        parts = list(batches)
        if layer == 0:
            network.get_submodule(module).weight = torch.nn.Parameter(other.weights[f"{module}.weight"])
    for name, x in expected.items():
        torch.testing.assert_close(torch.cat([p[name] for p in parts]), x, atol=1e-5, rtol=1e-5)


def test_gemmas_sliding_window_matters_here():
    near, far = random_model("gemma3"), random_model("gemma3", sliding_window=64)
    with torch.no_grad():
        found = [m(tokens(), use_cache=False).logits[:, -1] for m in (near, far)]
    assert not torch.allclose(*found, atol=1e-2)


def test_a_caller_may_leave_batches_unread():
    checkpoint = small()
    network, architecture = build(checkpoint), family(checkpoint)
    partly = {}
    for layer, batches in walk(network, architecture, tokens(8), "walk", batch=2):
        partly[layer] = next(iter(batches))
    expected = seen_by_hooks(network, [architecture.ffn_output(1)], tokens(8)[:2])
    torch.testing.assert_close(
        partly[1][architecture.ffn_output(1)], expected[architecture.ffn_output(1)], atol=1e-5, rtol=1e-5
    )


def test_the_network_is_left_as_it_was():
    checkpoint = small()
    network = build(checkpoint)
    before = list(blocks_of(network, family(checkpoint)))
    for _ in walk(network, family(checkpoint), tokens(), "walk"):
        pass
    assert list(blocks_of(network, family(checkpoint))) == before
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_an_error_in_the_middle_leaves_the_network_whole():
    checkpoint = small()
    network = build(checkpoint)
    before = list(blocks_of(network, family(checkpoint)))
    with pytest.raises(IndexError):
        next(iter(walk(network, family(checkpoint), torch.full((1, 4), 10_000), "walk")))
    assert list(blocks_of(network, family(checkpoint))) == before


def token_weights_of(checkpoint, windows, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    names = [n for layer in range(checkpoint.layers) for n in family(checkpoint).linears(layer)]
    return {n: torch.rand(windows.shape, generator=generator) for n in names}


def test_moments_sum_three_batches_of_four_to_fit_and_the_fourth_to_check():
    batches = [{"x": torch.full((4, 1), float(i + 1))} for i in range(8)]
    weights = {"x": torch.ones(32, 1), "y": torch.ones(32, 1).index_fill_(0, torch.arange(4, 8), 0)}
    fit, check = fold((batch for batch in batches), {"x": ["x", "y"]}, weights)
    assert fit["x"].item() == 4 * (1 + 4 + 9 + 25 + 36 + 49)
    assert check["x"].item() == 4 * (16 + 64)
    assert fit["y"].item() == 4 * (1 + 9 + 25 + 36 + 49) and torch.equal(check["y"], check["x"])


def test_modules_of_one_input_share_a_moment_where_every_token_counts_alike():
    batches = [{"x": torch.full((4, 1), float(i + 1))} for i in range(4)]
    fit, check = fold(iter(batches), {"x": ["x", "y"]}, {})
    assert fit["x"].item() == 4 * (1 + 4 + 9) and check["y"].item() == 4 * 16
    assert fit["y"] is fit["x"] and check["y"] is check["x"]


def test_moments_are_those_of_the_inputs():
    checkpoint, windows = small(), tokens(rows=16)
    network, architecture = build(checkpoint), family(checkpoint)
    weights = token_weights_of(checkpoint, windows)
    for layer, fit, check in moments(checkpoint, windows, weights, "cpu"):
        assert set(fit) == set(check) == set(architecture.linears(layer))
        seen = seen_by_hooks(network, list(fit), windows[:12])
        held_out = seen_by_hooks(network, list(fit), windows[12:])
        for name in fit:
            expected = second_moment(seen[name], weights[name][:12].flatten())
            torch.testing.assert_close(fit[name], expected, rtol=1e-3, atol=1e-3)
            expected = second_moment(held_out[name], weights[name][12:].flatten())
            torch.testing.assert_close(check[name], expected, rtol=1e-3, atol=1e-3)


def test_a_sealed_cache_is_read_and_an_unsealed_one_is_not(tmp_path):
    from birdbone.model.observing.moments import cache_key

    checkpoint, windows = small(), tokens(rows=4)
    weights = token_weights_of(checkpoint, windows)
    folder = tmp_path / cache_key(checkpoint, windows, weights)
    mark = {"mark": torch.ones(1, 1)}
    for layer in range(2):
        store(folder, layer, mark, mark)
    assert "mark" not in next(iter(moments(checkpoint, windows, weights, "cpu", tmp_path)))[1]
    (tmp_path / "older").mkdir()
    seal(folder)
    assert not (tmp_path / "older").exists()
    assert [fit for _, fit, _ in moments(checkpoint, windows, weights, "cpu", tmp_path)] == [mark, mark]
    others = token_weights_of(checkpoint, windows, seed=1)
    assert "mark" not in next(iter(moments(checkpoint, windows, others, "cpu", tmp_path)))[1]
    other = small(seed=1)
    assert "mark" not in next(iter(moments(other, windows, weights, "cpu", tmp_path)))[1]


def test_moments_are_remembered_once(tmp_path, monkeypatch):
    from birdbone.model.observing.moments import CACHE, remember

    monkeypatch.chdir(tmp_path)
    checkpoint, windows = small(), tokens(rows=4)
    weights = token_weights_of(checkpoint, windows)
    remember(checkpoint, windows, weights, "cpu")
    wanted = [fit for _, fit, _ in moments(checkpoint, windows, weights, "cpu")]
    monkeypatch.setattr("birdbone.model.observing.moments.walk", None)  # nothing is walked again
    remember(checkpoint, windows, weights, "cpu")
    found = [fit for _, fit, _ in moments(checkpoint, windows, weights, "cpu", CACHE)]
    assert [set(layer) for layer in found] == [set(layer) for layer in wanted]
    assert all(torch.equal(f[n], w[n]) for f, w in zip(found, wanted, strict=True) for n in w)


def test_without_weights_every_token_counts_alike():
    checkpoint, windows = small(), tokens(rows=4)
    alike = {n: torch.ones(windows.shape) for layer in range(2) for n in family(checkpoint).linears(layer)}
    for (_, wanted, _), (_, found, _) in zip(
        moments(checkpoint, windows, alike, "cpu"), moments(checkpoint, windows, {}, "cpu"), strict=True
    ):
        assert all(torch.equal(found[n], wanted[n]) for n in wanted)
