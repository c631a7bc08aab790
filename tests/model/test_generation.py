"""generation_config.json goes from a seed to its exports, and every end token with it."""

import json

import pytest
import torch
from families import random_model
from transformers import AutoModelForCausalLM

from birdbone.errors import ArtifactError
from birdbone.model.device import read_tokenizer
from birdbone.model.folder import copy_tokenizer, write_folder
from birdbone.model.generation import (
    FILE,
    end_tokens,
    folder_generation,
    gguf_generation,
    sampling_keys,
)
from birdbone.sources.load import load
from birdbone.sources.locate import locate
from birdbone.text.tokenizer import train_tokenizer

CHAT = {"eos_token_id": [0, 2], "do_sample": True, "temperature": 0.6, "top_p": 0.9}


@pytest.fixture
def seed_folder(tmp_path):
    tokenizer = train_tokenizer(["a few words"], 280)
    folder = tmp_path / "seed"
    random_model("llama", vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / FILE).write_text(json.dumps(CHAT))
    return folder


def exported(seed_folder, folder):
    """The folder as the pipeline makes it, by way of the tokenizer's own."""
    checkpoint, write_tokenizer = load(locate(str(seed_folder), {}), 0, list)
    for place in (folder, folder / "tokenizer"):
        place.mkdir()
    write_tokenizer(folder / "tokenizer")
    copy_tokenizer(folder / "tokenizer", folder)
    write_folder(checkpoint, folder, torch.float32)
    return folder


def test_an_exported_folder_samples_and_stops_as_the_seed_does(seed_folder, tmp_path):
    ours = AutoModelForCausalLM.from_pretrained(
        exported(seed_folder, tmp_path / "export")
    ).generation_config
    assert {key: getattr(ours, key) for key in CHAT} == CHAT
    assert end_tokens(tmp_path / "export", read_tokenizer(tmp_path / "export")) == [0, 2]


def test_end_tokens_of_config_json_count_where_there_is_no_other_file(tmp_path):
    assert folder_generation(tmp_path, {"eos_token_id": 3}) is None
    assert json.loads(folder_generation(tmp_path, {"eos_token_id": [3, 5]})) == {
        "eos_token_id": [3, 5]
    }


def test_sampling_and_end_tokens_go_into_a_gguf_files_keys_and_come_back(seed_folder):
    keys = {
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.eot_token_id": 2,
        **sampling_keys(seed_folder),
    }
    assert keys["general.sampling.temp"] == 0.6
    assert json.loads(gguf_generation(keys)) == CHAT
    assert (
        gguf_generation({"tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.eot_token_id": 2})
        is None
    )


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("{cut", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"eos_token_id": "x"}', "eos_token_id"),
        ('{"top_p": "x"}', "top_p"),
    ],
)
def test_a_damaged_file_is_named(seed_folder, content, wanted):
    (seed_folder / FILE).write_text(content)
    with pytest.raises(ArtifactError, match=f"generation_config.json.*{wanted}"):
        load(locate(str(seed_folder), {}), 0, list)
