"""A bundle speaks of layers, neurons, groups and masks."""

from families import cut
from model_pairs import all_but, masked, tiny

from birdbone.diff.changes import (
    TokenChange,
    node_changes,
    node_words,
    token_change,
    weight_changes,
)
from birdbone.diff.states import state_of


def words(old, new, seed=None) -> list[str]:
    return node_words(node_changes(state_of(old), state_of(new), state_of(seed or tiny())))


def test_what_went_is_said_layer_by_layer():
    seed = tiny()
    pruned = cut(
        seed, {0: all_but(12, 3, 4, 5), 2: all_but(12, 0)}, {1: all_but(2, 1), 2: all_but(2, 0)}
    )
    assert words(seed, pruned) == [
        "layer 0: 3 FFN neurons removed",
        "layer 1: key-value group 1 removed",
        "layer 2: 1 FFN neuron removed; key-value group 0 removed",
    ]
    assert words(pruned, seed)[0] == "layer 0: 3 FFN neurons revived"
    assert words(seed, seed) == []


def test_tokens_go_and_come_back_between_two_vocabularies():
    few, fewer = ({"of": 9, "removed": gone} for gone in (["a", "b"], ["b", "c", "d"]))
    assert token_change({}, few) == TokenChange(["a", "b"], [], 7, 9)
    assert token_change(few, fewer) == TokenChange(["c", "d"], ["a"], 6, 9)
    assert token_change(few, {}) == TokenChange([], ["a", "b"], 9, 9)
    assert token_change({"keep": "auto"}, {}) is None and token_change(few, few) is None


def test_what_came_back_stands_beside_what_went():
    seed = tiny()
    first = cut(seed, {0: all_but(12, 1, 2)}, {})
    second = cut(seed, {0: all_but(12, 2, 7, 8, 9)}, {})
    assert words(first, second) == ["layer 0: 3 FFN neurons removed, 1 revived"]


def test_a_neuron_with_one_weight_not_the_seeds_is_regrown():
    seed = tiny()
    pruned = cut(seed, {0: all_but(12, 1, 2)}, {1: all_but(2, 0)})
    down, output = "model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.o_proj.weight"
    other = {n: seed.weights[n].clone() for n in (down, output)}
    other[down][3, 2] += 1
    other[output][0, 0] = -other[output][0, 0]
    assert words(pruned, seed.evolve(other), seed) == [
        "layer 0: 1 FFN neuron regrown, 1 revived",
        "layer 1: key-value group 0 regrown",
    ]


def test_weight_masks_tell_their_shares_and_bits():
    name = "model.layers.1.mlp.up_proj.weight"
    first, second = masked(tiny(), name, 0), masked(tiny(), name, 1)
    a, b = (c.masks.weights[name] for c in (first, second))
    (found,) = weight_changes(state_of(first), state_of(second))
    assert found.tensor == name and found.before == float((~a).float().mean())
    assert (found.removed, found.returned) == (int((a & ~b).sum()), int((~a & b).sum()))
    (from_none,) = weight_changes(state_of(tiny()), state_of(first))
    assert from_none.before == 0 and from_none.removed == int((~a).sum())
