"""Embedding and head: compensated for the states the head reads, priced by measuring."""

import pytest
import torch
from families import FAMILIES, checkpoint_of, random_model, tokens

from birdbone.algo.gptq import round_nearest
from birdbone.algo.grids import GRIDS
from birdbone.model.judging.reference import final_states
from birdbone.model.network import build
from birdbone.model.rounding.embedding import outer_matrices, outer_roundings, outer_types
from birdbone.model.rounding.settings import RoundSettings

SETTINGS = RoundSettings(
    types=["IQ4_NL", "Q5_0", "Q8_0"],
    embedding="auto",
    method="gptq",
    orders=["natural"],
    equalize=False,
    damping=0.1,
)
WINDOWS = tokens(rows=32, length=16)


def roundings(checkpoint, **settings) -> dict:
    found = outer_roundings(checkpoint, WINDOWS, SETTINGS.model_copy(update=settings), "cpu")
    return {(name, grid.name): (rounded, cost) for name, grid, rounded, cost in found}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_every_type_is_rounded_and_priced_coarser_ones_dearer(name, tied):
    checkpoint = checkpoint_of(random_model(name, tie_word_embeddings=tied))
    found = roundings(checkpoint)
    assert list(found) == [(n, t) for n in outer_matrices(checkpoint) for t in SETTINGS.types]
    for matrix in outer_matrices(checkpoint):
        costs = [found[matrix, t][1] for t in SETTINGS.types]
        assert costs[0] > costs[1] > costs[2] > 0


def test_the_price_is_the_divergence_that_this_rounding_alone_causes():
    checkpoint = checkpoint_of(random_model("llama", tie_word_embeddings=True))
    (name,) = outer_matrices(checkpoint)
    rounded, cost = roundings(checkpoint)[name, "IQ4_NL"]
    held = torch.cat(WINDOWS.split(4)[3::4])
    with torch.no_grad():
        before, after = (
            build(c)(held).logits[:, :-1].log_softmax(-1)
            for c in (checkpoint, checkpoint.evolve({name: rounded.weight}))
        )
    assert cost == pytest.approx(float((before.exp() * (before - after)).sum(-1).mean()), rel=1e-3)


def test_logits_are_nearer_than_with_nearest_rounding():
    checkpoint = checkpoint_of(random_model("llama", tie_word_embeddings=True))
    (name,) = outer_matrices(checkpoint)
    states, weight = final_states(build(checkpoint), WINDOWS, "states"), checkpoint.weights[name]
    ours = roundings(checkpoint)[name, "IQ4_NL"][0].weight
    theirs = round_nearest(weight, GRIDS["IQ4_NL"]).weight
    assert (states @ (ours - weight).T).norm() < 0.8 * (states @ (theirs - weight).T).norm()


def test_an_embedding_that_no_head_shares_is_rounded_to_the_nearest():
    checkpoint = checkpoint_of(random_model("llama", tie_word_embeddings=False))
    embedding, head = outer_matrices(checkpoint)
    found = roundings(checkpoint)
    nearest = {n: round_nearest(checkpoint.weights[n], GRIDS["Q5_0"]).codes for n in (embedding, head)}
    assert torch.equal(found[embedding, "Q5_0"][0].codes, nearest[embedding])
    assert not torch.equal(found[head, "Q5_0"][0].codes, nearest[head])


def test_one_type_by_name_is_not_priced():
    checkpoint = checkpoint_of(random_model("llama", tie_word_embeddings=True))
    found = roundings(checkpoint, embedding="Q8_0")
    assert [(key[1], cost) for key, (_, cost) in found.items()] == [("Q8_0", 0.0)]
    assert outer_types(["Q4_0"], "Q8_0") == ["Q8_0"] and outer_types(["Q4_0"], "auto") == ["Q4_0"]
