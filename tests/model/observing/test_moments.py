"""Second moments are those of the inputs, and a sealed folder gives them back."""

import torch
from families import seen_by_hooks, small, tokens

from birdbone.algo.moments import second_moment
from birdbone.model.network import build
from birdbone.model.observing.moments import SecondMoments, fold, key_of, moments, seal, store


def token_weights_of(checkpoint, windows, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    names = checkpoint.layout.linears
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
    network, layout = build(checkpoint), checkpoint.layout
    weights = token_weights_of(checkpoint, windows)
    for layer, fit, check in moments(checkpoint, windows, weights, "cpu"):
        assert set(fit) == set(check) == set(layout.blocks[layer].linears)
        seen = seen_by_hooks(network, list(fit), windows[:12])
        held_out = seen_by_hooks(network, list(fit), windows[12:])
        for name in fit:
            expected = second_moment(seen[name], weights[name][:12].flatten())
            torch.testing.assert_close(fit[name], expected, rtol=1e-3, atol=1e-3)
            expected = second_moment(held_out[name], weights[name][12:].flatten())
            torch.testing.assert_close(check[name], expected, rtol=1e-3, atol=1e-3)


def test_a_sealed_folder_is_read_and_an_unsealed_one_is_not(tmp_path):
    checkpoint, windows = small(), tokens(rows=4)
    weights = token_weights_of(checkpoint, windows)
    folder, mark = tmp_path / "moments", {"mark": torch.ones(1, 1)}
    for layer in range(2):
        store(folder, layer, mark, mark)
    stored = SecondMoments(folder)
    assert "mark" not in next(iter(stored.of(checkpoint, windows, weights, "cpu")))[1]
    seal(folder, key_of(checkpoint, windows, weights))
    assert [fit for _, fit, _ in stored.of(checkpoint, windows, weights, "cpu")] == [mark, mark]


def test_moments_of_another_model_text_or_weights_are_not_read(tmp_path):
    checkpoint, windows = small(), tokens(rows=4)
    weights = token_weights_of(checkpoint, windows)
    mark = {"mark": torch.ones(1, 1)}
    for layer in range(2):
        store(tmp_path, layer, mark, mark)
    seal(tmp_path, key_of(checkpoint, windows, weights))
    others = token_weights_of(checkpoint, windows, seed=1)
    for case in (
        (small(seed=1), windows, weights),
        (checkpoint, tokens(rows=4, seed=1), weights),
        (checkpoint, windows, others),
    ):
        assert "mark" not in next(iter(SecondMoments(tmp_path).of(*case, "cpu")))[1]


def test_stored_moments_are_those_that_were_computed(tmp_path, monkeypatch):
    checkpoint, windows = small(), tokens(rows=16)
    weights = token_weights_of(checkpoint, windows)
    computed = list(SecondMoments().of(checkpoint, windows, weights, "cpu"))
    for layer, fit, check in computed:
        store(tmp_path, layer, fit, check)
    seal(tmp_path, key_of(checkpoint, windows, weights))
    monkeypatch.setattr("birdbone.model.observing.moments.walk", None)  # nothing is walked again
    read = list(SecondMoments(tmp_path).of(checkpoint, windows, weights, "cpu"))
    assert [layer for layer, _, _ in read] == [layer for layer, _, _ in computed] == [0, 1]
    for (_, *ours), (_, *theirs) in zip(read, computed, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], moment) for name, moment in other.items())


def test_without_weights_every_token_counts_alike():
    checkpoint, windows = small(), tokens(rows=4)
    alike = {n: torch.ones(windows.shape) for n in checkpoint.layout.linears}
    for (_, wanted, _), (_, found, _) in zip(
        moments(checkpoint, windows, alike, "cpu"),
        moments(checkpoint, windows, {}, "cpu"),
        strict=True,
    ):
        assert all(torch.equal(found[n], wanted[n]) for n in wanted)
