"""Every tensor of a seed's file is used, known to be no weight, or an error; the weights decide of the head."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from folders import add, edit, planned, retensor, saved, seed
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from two_layer_models import CONFIGS, logits, tokens

from birdbone.errors import BirdboneError
from birdbone.model.network import build

TIED = [name for name, config in CONFIGS.items() if config.get("tie_word_embeddings", True)]


def assert_like_from_pretrained(folder: Path) -> None:
    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()
    torch.testing.assert_close(logits(build(seed(folder)[0]), tokens()), logits(stock, tokens()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("says", [True, False])
def test_a_head_of_its_own_is_kept_whatever_the_configuration_says(name: str, says: bool, tmp_path: Path) -> None:
    model = saved(tmp_path, name, tie_word_embeddings=False)
    edit(tmp_path / "config.json", tie_word_embeddings=says)
    found, _ = seed(tmp_path)
    assert torch.equal(found.weights["lm_head.weight"], model.lm_head.weight)
    assert found.config["tie_word_embeddings"] is False
    assert planned(tmp_path).parameters == found.parameters
    assert_like_from_pretrained(tmp_path)


@pytest.mark.parametrize("says", [True, False])
def test_a_head_equal_to_the_embedding_is_left_out_and_said_to_be_tied(says: bool, tmp_path: Path) -> None:
    model = saved(tmp_path, "llama", tie_word_embeddings=True)
    add(tmp_path, **{"lm_head.weight": model.lm_head.weight.detach().clone()})
    edit(tmp_path / "config.json", tie_word_embeddings=says)
    found, _ = seed(tmp_path)
    assert "lm_head.weight" not in found.weights and found.config["tie_word_embeddings"] is True
    assert planned(tmp_path).parameters == found.parameters
    assert_like_from_pretrained(tmp_path)


def test_a_tied_model_saved_under_its_heads_name_alone(tmp_path: Path) -> None:
    """safetensors' save_model keeps one name of two that share memory."""
    saved(tmp_path, "llama", tie_word_embeddings=True)
    retensor(tmp_path, lambda n, t: {"lm_head.weight" if n == "model.embed_tokens.weight" else n: t})
    assert_like_from_pretrained(tmp_path)


def test_an_untied_model_without_its_head_is_incomplete(tmp_path: Path) -> None:
    saved(tmp_path, "llama", tie_word_embeddings=True)
    edit(tmp_path / "config.json", tie_word_embeddings=False)
    with pytest.raises(BirdboneError, match=r"lacks 1 tensors .*lm_head\.weight.*tie_word_embeddings"):
        seed(tmp_path)


def test_a_file_of_the_bare_network_lacks_the_prefix(tmp_path: Path) -> None:
    """As GPT-2's own files do."""
    saved(tmp_path, "gpt2")
    retensor(tmp_path, lambda n, t: {n.removeprefix("transformer."): t})
    add(tmp_path, **{"h.0.attn.bias": torch.ones(1, 1, 64, 64).tril(), "h.1.attn.masked_bias": torch.tensor(-1e4)})
    assert_like_from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq", "model.embed_tokens.position_ids"],
)
def test_what_is_no_weight_is_left_out(name: str, tmp_path: Path) -> None:
    saved(tmp_path)
    add(tmp_path, **{name: torch.arange(16)})
    assert_like_from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.layers.0.self_attn.q_proj.bias", "attention_bias"),
        ("model.layers.1.mlp.up_proj.bias", "mlp_bias"),
        ("model.layers.2.mlp.up_proj.weight", "num_hidden_layers"),
        ("model.layers.0.self_attn.q_norm.weight", "model_type"),
        ("model.layers.0.self_attn.k_scale", "quantization_config"),
        ("model.layers.0.mlp.experts.0.up_proj.weight", "mixture of experts"),
        ("model.layers.0.self_attn.q_proj.lora_A.default.weight", "adapter"),
        ("base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight", "adapter"),
        ("model.vision_tower.patch.weight", "pictures"),
        ("mtp.layers.0.mlp.up_proj.weight", "several tokens"),
        ("something", "another model"),
    ],
)
def test_a_tensor_without_a_place_is_refused_with_the_key_that_is_likely_wrong(
    name: str, said: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    add(tmp_path, **{name: torch.ones(64)})
    for read in (seed, planned):
        with pytest.raises(BirdboneError, match=rf"{name.replace('.', '[.]')}.*{said}"):
            read(tmp_path)


def test_a_masks_name_in_another_family_is_no_mask(tmp_path: Path) -> None:
    saved(tmp_path)
    add(tmp_path, **{"model.layers.0.attn.bias": torch.ones(64)})
    with pytest.raises(BirdboneError, match=r"layers\.0\.attn\.bias"):
        seed(tmp_path)


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    saved(tmp_path)
    edit(tmp_path / "config.json", intermediate_size=96)
    with pytest.raises(BirdboneError, match=r"mlp\.gate_proj\.weight is of shape \[128, 64\].*\[96, 64\]"):
        planned(tmp_path)


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        saved(tmp_path / "whole")
        model = saved(tmp_path / "sharded")
        for file in (tmp_path / "sharded").glob("*.safetensors"):
            file.unlink()
        model.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
        return tmp_path / "sharded"

    def test_the_model_beside_its_shards(self, folder: Path) -> None:
        shutil.copy(folder.parent / "whole/model.safetensors", folder)
        with pytest.raises(BirdboneError, match=r"weights twice: model\.safetensors"):
            planned(folder)

    def test_a_shard_that_no_index_names(self, folder: Path) -> None:
        save_file({"lm_head.weight": torch.ones(2)}, folder / "model-00009-of-00009.safetensors")
        with pytest.raises(BirdboneError, match=r"model-00009-of-00009\.safetensors"):
            planned(folder)

    def test_a_tensor_in_two_shards(self, folder: Path) -> None:
        first, second, *_ = sorted(folder.glob("*.safetensors"))
        save_file({**load_file(second), **load_file(first)}, second, {"format": "pt"})
        with pytest.raises(BirdboneError, match=rf"tensor \S+ is in .*{first.name} and in .*{second.name}"):
            planned(folder)

    def test_shards_without_their_index(self, folder: Path) -> None:
        (folder / "model.safetensors.index.json").unlink()
        with pytest.raises(BirdboneError, match=r"no model\.safetensors\.index\.json"):
            planned(folder)

    def test_another_layout_beside_is_not_read(self, folder: Path) -> None:
        """Mistral's own files hold the same weights under other names."""
        whole = folder.parent / "whole"
        save_file({"layers.0.attention.wq.weight": torch.ones(2, 2)}, whole / "consolidated.safetensors")
        assert_like_from_pretrained(whole)

    def test_weights_under_a_name_that_transformers_does_not_read(self, folder: Path) -> None:
        whole = folder.parent / "whole"
        (whole / "model.safetensors").rename(whole / "consolidated.safetensors")
        with pytest.raises(BirdboneError, match=r"no model\.safetensors, only consolidated"):
            planned(whole)

    @pytest.mark.parametrize(
        "content", [b"", b"\xff" * 100, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"]
    )
    def test_a_damaged_file(self, folder: Path, content: bytes) -> None:
        whole = folder.parent / "whole"
        (whole / "model.safetensors").write_bytes(content)
        with pytest.raises(BirdboneError, match=r"model\.safetensors is (truncated or corrupted|a pointer of git-lfs)"):
            planned(whole)

    def test_a_file_of_no_tensors(self, folder: Path) -> None:
        whole = folder.parent / "whole"
        save_file({}, whole / "model.safetensors")
        with pytest.raises(BirdboneError, match=r"lacks 21 tensors"):
            planned(whole)

    def test_a_folder_of_gguf_files(self, tmp_path: Path) -> None:
        (tmp_path / "a-Q4_0.gguf").touch()
        with pytest.raises(BirdboneError, match=r"GGUF files: give one of them, such as .*a-Q4_0\.gguf"):
            planned(tmp_path)

    def test_numbers_beyond_float32(self, tmp_path: Path) -> None:
        saved(tmp_path)
        retensor(tmp_path, lambda n, t: {n: t.double() * 1e300 if "up_proj" in n else t})
        with pytest.raises(BirdboneError, match=r"up_proj\.weight holds NaN or infinite"):
            seed(tmp_path)
