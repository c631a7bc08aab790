"""Every family's own GGUF goes back in as a seed, and what a file says that is not computed is
refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from families import checkpoint_of
from gguf_models import FAMILIES, random_model, some_tokens, torch_logits

from birdbone.errors import BirdboneError, SourceError, UnsupportedArchitectureError
from birdbone.gguf.header import read_gguf_header
from birdbone.gguf.writer import write_gguf
from birdbone.model.family import families
from birdbone.model.network import build
from birdbone.sources.load import config_of, load
from birdbone.sources.locate import locate
from birdbone.sources.shape import model_shape
from birdbone.sources.tokenizer import _reader

UNTIED = {
    "llama": {"tie_word_embeddings": False},
    "gemma3_text": {"tie_word_embeddings": False},
    "gpt2": {"n_inner": 96},
}


def seed(path: Path):
    return load(locate(str(path), {}), 0, list)


def rewritten(
    path: Path,
    out: Path,
    keys: dict[str, Any],
    without: str = " ",
    tensors: dict[str, Any] | None = None,
):
    """A file's copy with keys laid over its own, without those keys and tensors that begin with
    ``without``.
    """
    old = gguf.GGUFReader(path)
    name = old.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(out, keys.pop("general.architecture", name))
    own = {
        k: f.contents()
        for k, f in old.fields.items()
        if not k.startswith(("GGUF.", "general.architecture", without))
    }
    add = {
        str: writer.add_string,
        int: writer.add_uint32,
        float: writer.add_float32,
        list: writer.add_array,
    }
    for key, value in {**own, **keys}.items():
        writer.add_bool(key, value) if isinstance(value, bool) else add[type(value)](key, value)
    for tensor in old.tensors:
        if not tensor.name.startswith(without):
            writer.add_tensor(tensor.name, tensor.data)
    for tensor, value in (tensors or {}).items():
        writer.add_tensor(tensor, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


@pytest.mark.parametrize(
    ("name", "changes"),
    [*((name, {}) for name in FAMILIES), *((name, changes) for name, changes in UNTIED.items())],
)
def test_a_familys_own_gguf_is_a_seed_that_computes_the_same(
    name: str, changes: dict, byte_level: Path, tmp_path: Path
) -> None:
    model = random_model(name, **changes)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    window = some_tokens(200)
    wanted = torch_logits(model, window)
    found, _ = seed(tmp_path / "m.gguf")
    assert np.abs(torch_logits(build(found), window) - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert found.config["tie_word_embeddings"] == ("lm_head.weight" not in found.weights)
    counted = model_shape(locate(str(tmp_path / "m.gguf"), {}))
    assert (counted.parameters, counted.layers) == (found.parameters, found.layers)


@pytest.mark.parametrize(
    "name", [n for n, f in families().items() if _reader({"general.architecture": f.gguf.arch})[1]]
)
def test_the_tokenizer_is_the_one_that_transformers_would_look_up(
    name: str, byte_level: Path, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model(name)), byte_level)
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    read, more = _reader(keys)
    told, found = (
        read.from_pretrained(tmp_path, gguf_file="m.gguf", local_files_only=True, **given)
        for given in (more, {})
    )
    assert type(told) is type(found)
    assert told.backend_tokenizer.to_str() == found.backend_tokenizer.to_str()
    assert told.special_tokens_map == found.special_tokens_map


def test_a_real_gemma_headers_name_is_the_text_models(byte_level: Path, tmp_path: Path) -> None:
    """Files of llama.cpp's own converter name neither the pattern of windows nor their positions'
    base.
    """
    model = random_model("gemma3_text", num_hidden_layers=7, layer_types=None, rope_parameters=None)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert keys["gemma3.attention.sliding_window_pattern"] == [True] * 5 + [False, True]
    path = rewritten(
        tmp_path / "m.gguf", tmp_path / "x.gguf", {}, "gemma3.attention.sliding_window_pattern"
    )
    path = rewritten(path, tmp_path / "y.gguf", {}, "gemma3.rope.freq_base_swa")
    assert config_of(locate(str(path), {}))["model_type"] == "gemma3_text"
    window = some_tokens(200)
    wanted = torch_logits(model, window)
    assert (
        np.abs(torch_logits(build(seed(path)[0]), window) - wanted).max()
        < 1e-4 * np.abs(wanted).max()
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"llama.rope.scaling.type": "yarn"}, r"rope\.scaling\.type is 'yarn'"),
        ({"llama.expert_count": 8}, r"expert_count is 8"),
        ({"llama.rope.dimension_count": 16}, r"rope\.dimension_count is 16"),
        ({"llama.block_count": "three"}, r"block_count as 'three'"),
        ({"llama.feed_forward_length": [128, 96, 128]}, r"feed_forward_length differs"),
        ({"llama.attention.head_count": 0}, r"num_attention_heads is 0"),
        ({"llama.block_count": 2}, r"holds 9 tensors .*blk\.2\..*num_hidden_layers"),
        ({"llama.block_count": 4}, r"lacks 9 tensors .*blk\.3"),
        ({"split.count": 3}, r"one of 3 parts"),
        ({"general.type": "adapter"}, r"'adapter'"),
    ],
)
def test_what_is_not_computed_is_refused_by_its_key(
    keys: dict, said: str, byte_level: Path, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama")), byte_level)
    rewritten(tmp_path / "m.gguf", tmp_path / "x.gguf", keys, next(iter(keys)))
    for read in (seed, lambda path: model_shape(locate(str(path), {}))):
        with pytest.raises(BirdboneError, match=rf"x\.gguf.*{said}"):
            read(tmp_path / "x.gguf")


def test_an_unknown_architecture_is_named(byte_level: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama")), byte_level)
    rewritten(tmp_path / "m.gguf", tmp_path / "x.gguf", {"general.architecture": "falcon"})
    with pytest.raises(
        UnsupportedArchitectureError, match=r"x\.gguf: general\.architecture 'falcon'.*gemma4, gpt2"
    ):
        seed(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    "name", ["blk.0.attn_q.bias", "v.patch_embd.weight", "blk.0.ffn_gate_inp.weight"]
)
def test_a_tensor_without_a_place_is_refused(name: str, byte_level: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("qwen3")), byte_level)
    rewritten(
        tmp_path / "m.gguf", tmp_path / "x.gguf", {}, tensors={name: np.zeros(32, np.float32)}
    )
    with pytest.raises((SourceError, BirdboneError), match=r"x\.gguf"):
        seed(tmp_path / "x.gguf")


def test_divisors_of_frequencies_that_follow_no_rule_are_refused(
    byte_level: Path, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama3-rope")), byte_level)
    rule = {"rope_freqs.weight": np.linspace(1, 7, 16, dtype=np.float32)}
    rewritten(tmp_path / "m.gguf", tmp_path / "x.gguf", {}, "rope_freqs.weight", rule)
    with pytest.raises(SourceError, match=r"x\.gguf: .*rope_freqs\.weight follow no rule"):
        seed(tmp_path / "x.gguf")


def test_a_tied_head_that_is_stored_twice_is_left_out(byte_level: Path, tmp_path: Path) -> None:
    model = random_model("llama")
    write_gguf(tmp_path / "m.gguf", checkpoint_of(model), byte_level)
    head = {"output.weight": model.lm_head.weight.detach().numpy()}
    found, _ = seed(rewritten(tmp_path / "m.gguf", tmp_path / "x.gguf", {}, tensors=head))
    assert "lm_head.weight" not in found.weights and found.config["tie_word_embeddings"]
    assert torch.equal(found.weights["model.embed_tokens.weight"], model.lm_head.weight)
