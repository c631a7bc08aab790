"""What the seed writes is drawn from its own distribution, and is the same each time."""

import pytest
import torch
from families import FAMILIES, small

from birdbone.model.network import build
from birdbone.model.observing import self_text as written
from birdbone.model.observing.self_text import write_windows

STARTS = torch.arange(5, 40)


@pytest.mark.parametrize("name", FAMILIES)
def test_windows_have_their_shape_and_start_where_they_may(name):
    found = write_windows(small(name), STARTS, 3, 12, 0, "cpu")
    assert found.shape == (3, 12) and found.dtype == torch.int32
    assert set(found[:, 0].tolist()) <= set(STARTS.tolist())
    assert 0 <= found.min() and found.max() < build(small(name)).config.vocab_size


def test_the_same_seed_value_writes_the_same_and_another_something_else():
    first, again, other = (write_windows(small(), STARTS, 4, 12, seed, "cpu") for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_batches_differ_and_the_last_may_be_short(monkeypatch):
    monkeypatch.setattr(written, "BATCH", 2)
    found = write_windows(small(), STARTS, 5, 12, 0, "cpu")
    assert len(found) == 5 and len(found.unique(dim=0)) == 5


def test_tokens_come_as_often_as_the_model_says():
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125, 0.0]).log().expand(20_000, -1)
    drawn = written._sample(logits, torch.Generator().manual_seed(0)).bincount(minlength=5) / 20_000
    torch.testing.assert_close(drawn, logits[0].exp(), atol=0.01, rtol=0)


def test_the_cache_changes_nothing(monkeypatch):
    """Greedy draws equal those of a whole forward pass at each step."""
    monkeypatch.setattr(written, "_sample", lambda logits, _: logits.argmax(-1))
    monkeypatch.setattr(written, "compute_dtype", lambda *_: torch.float32)
    network, found = build(small()), write_windows(small(), STARTS, 2, 10, 0, "cpu").long()
    for length in range(1, 10):
        with torch.no_grad():
            logits = network(found[:, :length], use_cache=False).logits[:, -1]
        assert torch.equal(found[:, length], logits.argmax(-1))


def test_a_talk_holds_what_is_given_and_goes_on_where_the_seed_ends_its_turn(monkeypatch):
    """Draws are 7, 8, 9, 7 ...; 9 ends a turn."""
    drawn = iter([7, 8, 9] * 9)
    monkeypatch.setattr(
        written, "_sample", lambda logits, _: torch.full((len(logits),), next(drawn))
    )
    found = written.write_talks(small(), [[[1, 2], [3, 4]], [[1, 5], [6]]], [9], 9, 0, "cpu")
    assert found.tolist() == [[1, 2, 8, 9, 3, 4, 9, 7, 8], [1, 5, 8, 9, 6, 8, 9, 7, 8]]
