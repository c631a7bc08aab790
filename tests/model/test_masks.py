"""Masks: one over another, counted, and by their names in files."""

import pytest
import torch

from birdbone.model.masks import Masks, masked_tensor, weight_name
from birdbone.model.units import Nodes

UP = "model.layers.3.mlp.up_proj.weight"
KEPT = torch.tensor([True, False, True])
GRID = torch.tensor([[True, False], [False, False]])


def test_they_go_by_their_names_in_files_and_back():
    masks = Masks({Nodes("ffn", 3): KEPT, Nodes("kv", 10): ~KEPT}, {UP: GRID})
    tensors = masks.to_tensors()
    assert list(tensors) == ["ffn.3", "kv.10", f"weight.{UP}"]
    back = Masks.from_tensors(tensors)
    assert back.nodes.keys() == masks.nodes.keys() and back.weights.keys() == masks.weights.keys()
    assert all(torch.equal(back.to_tensors()[name], tensor) for name, tensor in tensors.items())
    assert Masks.from_tensors({}) == Masks()


def test_a_plain_pair_is_a_key_too():
    assert torch.equal(Masks({Nodes("ffn", 3): KEPT}).nodes["ffn", 3], KEPT)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ffn",
        "ffn.",
        "ffn.x",
        "ffn.-1",
        "ffn.03",
        "ffn.٣",
        "ffn.1.2",
        "head.0",
        "kv.1234567890",
        UP,
    ],
)
def test_a_name_of_no_mask_is_refused(name):
    assert Nodes.parse(name) is None
    with pytest.raises(ValueError, match=f"^{name} is the name of no mask"):
        Masks.from_tensors({"ffn.0": KEPT, name: KEPT})


@pytest.mark.parametrize("nodes", [Nodes("ffn", 0), Nodes("kv", 12), Nodes("ffn", 999_999_999)])
def test_the_name_of_nodes_is_read_as_those_nodes(nodes):
    assert Nodes.parse(nodes.name) == nodes


def test_the_tensor_of_a_weight_mask_is_told_by_its_name():
    assert masked_tensor(weight_name(UP)) == UP
    assert masked_tensor("ffn.3") is None and masked_tensor(UP) is None


def test_others_are_laid_over_them():
    first = Masks({Nodes("ffn", 0): KEPT, Nodes("ffn", 1): KEPT}, {"a": GRID})
    both = first | Masks({Nodes("ffn", 1): ~KEPT}, {"a": ~GRID, "b": GRID})
    assert torch.equal(both.nodes["ffn", 0], KEPT) and torch.equal(both.nodes["ffn", 1], ~KEPT)
    assert torch.equal(both.weights["a"], ~GRID) and torch.equal(both.weights["b"], GRID)
    assert torch.equal(first.nodes["ffn", 1], KEPT) and set(first.weights) == {"a"}


def test_masked_weights_are_counted_and_nodes_are_not():
    assert Masks({Nodes("ffn", 0): KEPT}, {"a": GRID, "b": ~GRID}).masked == 3 + 1
