"""A model with one layer's masks taken back is one that stock transformers loads, with the same logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import cut
from model_pairs import all_but, healed
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from birdbone.datasets.folders import ModelFolder
from birdbone.diff.apply import apply_bundle
from birdbone.diff.loadable import write_loadable
from birdbone.diff.patch import write_patches
from birdbone.diff.states import state_of
from birdbone.errors import SourceError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build, canonical


def llama() -> Checkpoint:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "vocab_size": 20}
    config = LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True)
    return Checkpoint(config.to_dict(), canonical(LlamaForCausalLM(config).state_dict(), config.to_dict()))


def test_a_part_taken_back_loads_with_the_stock_class_and_computes_the_same(tmp_path: Path) -> None:
    seed = llama()
    new = healed(cut(seed, {0: all_but(12, 1, 5), 1: all_but(12, 3)}, {0: all_but(2, 1)}))
    write_patches(state_of(seed), state_of(new), state_of(seed), tmp_path / "bundle")
    part = {"layers": {0}, "masks_only": True}
    digest = apply_bundle(state_of(new), tmp_path / "bundle", state_of(seed), tmp_path / "part", revert=True, **part)
    assert digest not in (seed.digest, new.digest)

    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer/manifest.json").write_text("{}")
    write_loadable(tmp_path / "part", tmp_path / "tokenizer", tmp_path / "stock")
    assert (tmp_path / "stock/tokenizer.json").read_text() == "{}"
    tokens = torch.arange(10)[None]
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "stock", dtype=torch.float32)(tokens).logits
        wanted = build(ModelFolder(str(tmp_path / "part")).load())(tokens)
    torch.testing.assert_close(found, getattr(wanted, "logits", wanted), rtol=1e-5, atol=1e-6)


def test_without_a_tokenizer_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="tokenizer.*is missing"):
        write_loadable(tmp_path, tmp_path / "tokenizer", tmp_path / "stock")
    assert not (tmp_path / "stock").exists()
