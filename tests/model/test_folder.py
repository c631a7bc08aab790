"""A folder of any checkpoint loads with the stock class and computes the same."""

import json

import pytest
import torch
from families import (
    FAMILIES,
    all_but,
    checkpoint_of,
    cut,
    logits,
    random_model,
    shape_of,
    small,
    tokens,
)
from transformers import AutoModelForCausalLM

from birdbone.errors import ExportError
from birdbone.model.folder import write_folder
from birdbone.model.network import build

families = pytest.mark.parametrize("name", FAMILIES)


def reloaded(folder):
    model, about = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert (
        not about["missing_keys"] and not about["unexpected_keys"] and not about["mismatched_keys"]
    )
    return model.eval()


def narrowed(name, how):
    checkpoint = small(name)
    width, groups = shape_of(checkpoint)[1]
    some, more = all_but(width, *range(10, 42)), all_but(width, *range(20, 84))
    cuts = {
        "whole": ({}, {}),
        "even": ({0: some, 1: some.flip(0)}, {}),
        "uneven": ({0: some, 1: more}, {}),
        "a group gone in one layer": ({0: some}, {1: all_but(groups, 1)}),
        "a group gone in every layer": ({}, {0: all_but(groups, 0), 1: all_but(groups, 1)}),
    }
    return cut(checkpoint, *cuts[how])


@families
@pytest.mark.parametrize(
    "how", ["whole", "even", "uneven", "a group gone in one layer", "a group gone in every layer"]
)
def test_the_stock_class_loads_it_and_computes_the_same(name, how, tmp_path):
    checkpoint = narrowed(name, how)
    write_folder(checkpoint, tmp_path, torch.float32)
    torch.testing.assert_close(
        logits(reloaded(tmp_path), tokens()), logits(build(checkpoint), tokens()), atol=1e-5, rtol=0
    )


@families
def test_even_widths_are_physically_small_and_uneven_ones_padded(name, tmp_path):
    whole, even, uneven = (tmp_path / n for n in ("whole", "even", "uneven"))
    shapes = {}
    for folder in (whole, even, uneven):
        folder.mkdir()
        shapes[folder.name] = write_folder(narrowed(name, folder.name), folder, torch.float32)
    width = shapes["whole"]["ffn_width"]
    assert shapes["even"] == {
        "ffn_width": width - 32,
        "kv_groups": shapes["whole"]["kv_groups"],
        "padded": False,
    }
    assert shapes["uneven"] == {**shapes["even"], "padded": True}
    sizes = {f.name: (f / "model.safetensors").stat().st_size for f in (whole, even, uneven)}
    assert sizes["even"] < sizes["whole"]


def test_gpt2_keeps_its_head_count_and_says_it_is_padded(tmp_path):
    shape = write_folder(narrowed("gpt2", "a group gone in every layer"), tmp_path, torch.float32)
    assert shape["kv_groups"] == 4 and shape["padded"] is True


def test_the_head_size_survives_the_loss_of_heads(tmp_path):
    write_folder(narrowed("qwen2", "a group gone in every layer"), tmp_path, torch.float32)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (
        2,
        1,
        16,
    )


def test_an_untied_head_that_equals_the_embedding_reloads(tmp_path):
    model = random_model("llama", tie_word_embeddings=False)
    model.lm_head.weight.data.copy_(model.model.embed_tokens.weight)
    write_folder(checkpoint_of(model), tmp_path, torch.float32)
    torch.testing.assert_close(
        logits(reloaded(tmp_path), tokens()), logits(model, tokens()), atol=1e-5, rtol=0
    )


def test_the_dtype_is_the_one_asked_for(tmp_path):
    write_folder(small(), tmp_path, torch.float16)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.float16


def test_weights_beyond_float16_are_refused_and_fit_bfloat16(tmp_path):
    checkpoint = small("llama")
    beyond = checkpoint.evolve({"model.norm.weight": checkpoint.weights["model.norm.weight"] + 1e5})
    with pytest.raises(
        ExportError,
        match=r"export\.dtype: float16 ends at 65504, but model\.norm\.weight .*bfloat16",
    ):
        write_folder(beyond, tmp_path, torch.float16)
    assert not list(tmp_path.iterdir())
    write_folder(beyond, tmp_path, torch.bfloat16)
    assert all(weight.isfinite().all() for weight in reloaded(tmp_path).state_dict().values())
