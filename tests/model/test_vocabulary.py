"""A model with fewer tokens: the old logits of those that stay, in every family."""

from __future__ import annotations

import json

import pytest
import torch
from families import FAMILIES, logits, small
from transformers import AutoTokenizer

from birdbone.errors import ConfigError
from birdbone.model.network import build
from birdbone.model.vocabulary import kept_ids, named_ids, renumbered, with_tokens, write_tokenizer
from birdbone.text.merges import closed
from birdbone.text.tokenizer import train_tokenizer

TEXT = "def add(a, b): return a + b  # the sum of both, as the small model says\n"
KEPT = torch.tensor([0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_old_ones_of_the_kept_tokens(family):
    whole = small(family)
    trimmed = with_tokens(whole, KEPT)
    ids = torch.randint(0, len(KEPT), (2, 12), generator=torch.Generator().manual_seed(0))
    ours, theirs = logits(build(trimmed), ids), logits(build(whole), KEPT[ids])
    assert torch.allclose(ours, theirs[..., KEPT], atol=1e-5)
    assert trimmed.config["vocab_size"] == len(KEPT) and trimmed.parameters < whole.parameters


def test_ids_in_settings_are_renumbered():
    settings = {"bos_token_id": 0, "eos_token_id": [2, 8], "pad_token_id": -1, "top_k": 8}
    new = {"bos_token_id": 0, "eos_token_id": [2, 5], "pad_token_id": -1, "top_k": 8}
    assert renumbered(settings, KEPT.tolist()) == new


def test_ids_that_settings_name_are_found():
    settings = {"bos_token_id": 0, "eos_token_id": [2, 8], "pad_token_id": -1, "top_k": 8}
    assert named_ids(settings | {"unk_token_id": None}) == [0, 2, 8]


def test_a_token_that_the_model_names_cannot_go():
    with pytest.raises(ConfigError, match="token 4 would go.*eos_token_id"):
        renumbered({"eos_token_id": 4}, KEPT.tolist())


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "tokenizer"
    tokenizer = train_tokenizer([TEXT * 3, "zebras quit jumping over lazy dogs " * 5], 400)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}"
    tokenizer.save_pretrained(place)
    end = tokenizer.eos_token_id
    (place / "generation_config.json").write_text(json.dumps({"eos_token_id": [end], "top_k": 5}))
    return place


def test_a_trimmed_tokenizers_folder_loads_and_encodes_alike(folder, tmp_path):
    whole = AutoTokenizer.from_pretrained(folder)
    kept = closed(json.loads((folder / "tokenizer.json").read_text()), whole.tokenize(TEXT))
    small_folder = tmp_path / "small"
    small_folder.mkdir()
    write_tokenizer(folder, small_folder, kept)
    trimmed, ids = AutoTokenizer.from_pretrained(small_folder), kept_ids(folder, kept)
    assert len(trimmed) == len(ids) < len(whole)
    assert ids[trimmed(TEXT).input_ids].tolist() == whole(TEXT).input_ids
    assert trimmed.decode(trimmed("zebras 東京").input_ids) == "zebras 東京"
    assert trimmed.eos_token == whole.eos_token and trimmed.chat_template == whole.chat_template
    generation = json.loads((small_folder / "generation_config.json").read_text())
    assert generation == {"eos_token_id": [trimmed.eos_token_id], "top_k": 5}
