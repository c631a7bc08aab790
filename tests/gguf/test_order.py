"""What a tensor's numbers become in a GGUF file, and that they come back."""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES, small

from birdbone.algo.grids import GRIDS
from birdbone.gguf.order import from_file, rows_to_file, to_file


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tensor_comes_back_from_a_file(name):
    checkpoint = small(name)
    arch = checkpoint.layout.family.gguf.arch
    for tensor, weight in checkpoint.weights.items():
        stored = to_file(checkpoint.layout, arch, tensor, weight)
        back = from_file(checkpoint.layout, arch, tensor, stored)
        torch.testing.assert_close(back, weight, atol=1e-6, rtol=1e-6)


def test_only_the_norms_that_the_family_file_names_are_offset():
    checkpoint = small("qwen3_5_text")
    block = "model.layers.0"
    for norm, offset in (
        (f"{block}.input_layernorm", 1),
        ("model.norm", 1),
        (f"{block}.linear_attn.norm", 0),
    ):
        weight = checkpoint.weights[f"{norm}.weight"]
        stored = to_file(checkpoint.layout, "qwen35", f"{norm}.weight", weight)
        assert torch.equal(stored, weight + offset)


@pytest.mark.parametrize("part", ["in_proj_qkv", "in_proj_z", "out_proj"])
def test_packed_heads_move_as_their_weights_do(part):
    """Heads of 32 are whole blocks: their bytes may be put in another order."""
    checkpoint = small("qwen3_5_text")
    grid = GRIDS["Q4_0"]
    name = f"model.layers.0.linear_attn.{part}.weight"
    weight = checkpoint.weights[name]
    packed = grid.reference(weight).reshape(len(weight), -1)
    moved = rows_to_file(checkpoint.layout, "qwen35", name, packed)
    assert not torch.equal(moved, packed)
    expected = rows_to_file(checkpoint.layout, "qwen35", name, grid.dequantize(packed))
    assert torch.equal(grid.dequantize(moved.contiguous()), expected)


def test_value_heads_lie_by_their_number_within_a_key_head():
    layout = small("qwen3_5_text").layout
    heads = torch.arange(4.0)
    stored = rows_to_file(layout, "qwen35", "model.layers.0.linear_attn.dt_bias", heads)
    assert stored.tolist() == [0, 2, 1, 3]
