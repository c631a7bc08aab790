"""A mixture in stock llama.cpp: the same logits as in stock transformers, at any number of
experts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from families import checkpoint_of
from gguf_models import clear_top1_agreement, mean_kl, random_model, some_tokens, torch_logits

from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.header import read_gguf_header, tensor_types
from birdbone.mixture.gguf import USED, write_mixture
from birdbone.mixture.model import Mixture, expert_shape, mixture_of, set_active, stock_network


def mixture(**changes: object) -> Mixture:
    """Three layers of a 32-wide shared expert and six of 16; routers that rank clearly."""
    checkpoint = checkpoint_of(
        random_model("llama", seed=1, **changes)
    )  # of no near tie in a router
    generator = torch.Generator().manual_seed(0)
    shape = expert_shape(128, 6, 0.25)
    orders = [torch.randperm(128, generator=generator) for _ in range(3)]
    return mixture_of(
        checkpoint, orders, [torch.randn(6, 64, generator=generator) for _ in range(3)], shape, 2
    )


@pytest.fixture(scope="module")
def written(byte_level: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mixture, Path]:
    found = mixture()
    path = tmp_path_factory.mktemp("mixture") / "m.gguf"
    write_mixture(path, found, byte_level, metadata={"name": "two of six"})
    return found, path


def test_the_file_says_what_the_mixture_is(written: tuple[Mixture, Path]) -> None:
    keys = read_gguf_header(written[1]).metadata
    assert keys["general.architecture"] == "glm4moe" and keys["general.name"] == "two of six"
    wanted = {
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_shared_count": 2,
        "expert_feed_forward_length": 16,
        "leading_dense_block_count": 0,
        "expert_weights_norm": False,
        "expert_weights_scale": 2.0,
        "rope.dimension_count": 32,
    }
    assert {key: keys[f"glm4moe.{key}"] for key in wanted} == wanted
    types = tensor_types(written[1])
    assert set(types.values()) == {"F32"} and "output.weight" not in types
    assert types.keys() >= {
        "blk.2.ffn_gate_exps.weight",
        "blk.2.exp_probs_b.bias",
        "blk.2.post_attention_norm.weight",
    }


@pytest.mark.parametrize("active", [6, 4, 2, 1])
def test_llama_cpp_has_transformers_logits_at_any_number_of_experts(
    written: tuple[Mixture, Path], active: int
) -> None:
    found, path = written
    tokens, network = some_tokens(), stock_network(found)
    set_active(network, active)
    ours = torch_logits(network, tokens)
    theirs = llamacpp.logits(path, tokens, overrides={USED: active})
    by_token = np.array([mean_kl(a[None], b[None]) for a, b in zip(ours, theirs, strict=True)])
    assert np.median(by_token) < 1e-9
    assert (by_token < 1e-7).mean() > (
        0.999 if active == 6 else 0.9
    )  # near ties may fall either way
    if active == 6:
        assert clear_top1_agreement(ours, theirs) == 1.0


def test_fewer_experts_are_another_model(written: tuple[Mixture, Path]) -> None:
    tokens = some_tokens()
    two, all_on = (
        llamacpp.logits(written[1], tokens, overrides={USED: active}) for active in (2, 6)
    )
    assert np.array_equal(llamacpp.logits(written[1], tokens), two)  # the file's own number
    assert mean_kl(all_on, two) > 1e-2


def test_q8_0_keeps_routers_and_vectors_exact(byte_level: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(
        random_model("llama", intermediate_size=256, tie_word_embeddings=False)
    )
    generator = torch.Generator().manual_seed(1)
    orders = [torch.randperm(256, generator=generator) for _ in range(3)]
    routers = [torch.randn(6, 64, generator=generator) for _ in range(3)]
    found = mixture_of(checkpoint, orders, routers, expert_shape(256, 6, 0.25, multiple=32), 6)
    asked = write_mixture(tmp_path / "m.gguf", found, byte_level, kind="q8_0")
    types = tensor_types(tmp_path / "m.gguf")
    assert types == asked
    assert types["blk.0.ffn_down_exps.weight"] == types["output.weight"] == "Q8_0"
    assert types["blk.0.ffn_gate_inp.weight"] == types["blk.0.attn_norm.weight"] == "F32"
    tokens = some_tokens()
    ours, theirs = (
        torch_logits(stock_network(found), tokens),
        llamacpp.logits(tmp_path / "m.gguf", tokens),
    )
    assert mean_kl(ours, theirs) < 0.05
    assert (
        llamacpp.speeds(
            {"two": tmp_path / "m.gguf"}, prompt=16, generated=4, overrides={"two": {USED: 2}}
        )["two"]["decode"]
        > 0
    )


def test_a_width_that_a_grid_cannot_hold_is_refused(byte_level: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"down_proj has rows of 16: Q8_0 needs multiples of 32"):
        write_mixture(tmp_path / "m.gguf", mixture(), byte_level, kind="Q8_0")
    assert not list(tmp_path.iterdir())
