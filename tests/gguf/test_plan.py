"""Which matrices half precision cannot hold."""

from __future__ import annotations

from pathlib import Path

from families import checkpoint_of
from gguf_models import (
    random_model,
)

from birdbone.gguf.header import tensor_types
from birdbone.gguf.plan import beyond_half
from birdbone.gguf.writer import write_gguf


def test_a_matrix_that_half_precision_cannot_hold_stays_float32_with_those_it_is_joined_to(
    byte_level: Path, tmp_path: Path
) -> None:
    checkpoint, name = checkpoint_of(random_model("gpt2")), "transformer.h.1.attn.c_attn.key.weight"
    checkpoint = checkpoint.evolve({name: checkpoint.weights[name] + 1e5})
    kept = beyond_half(checkpoint)
    assert sorted(n.split(".")[-2] for n in kept if n.endswith("weight")) == [
        "key",
        "query",
        "value",
    ]
    write_gguf(tmp_path / "m.gguf", checkpoint, byte_level, default_type="f16", types=kept)
    types = tensor_types(tmp_path / "m.gguf")
    assert (types["blk.1.attn_qkv.weight"], types["blk.0.attn_qkv.weight"]) == ("F32", "F16")
