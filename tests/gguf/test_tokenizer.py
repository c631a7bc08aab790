"""llama.cpp splits text exactly as the Hugging Face tokenizer that was exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from families import checkpoint_of
from gguf_models import VOCABULARY, random_model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.header import read_gguf_header
from birdbone.gguf.pretokenizer import splitter
from birdbone.gguf.tokenizer import PROBES, read_vocabulary
from birdbone.gguf.writer import check_form, write_gguf

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
TEXTS = [*PROBES, "Zebras dig 12345 holes.\n\n    if x:\n\t\treturn 7", "ﬁ ∑ Ω 漢字 🦙🦙"]


def trained(
    folder: Path,
    splitter: pre_tokenizers.PreTokenizer,
    normalizer: normalizers.Normalizer | None = None,
) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(["Upper and lower case 123 456"] * 3 + TEXTS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>"
    )
    fast.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["byte_level", "llama3_split", "byte_fallback"])
def test_llama_cpp_finds_the_same_ids(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama")), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for special in (False, True):
        ours = [tokenizer.encode(text, add_special_tokens=special) for text in TEXTS]
        assert llamacpp.tokenize(tmp_path / "m.gguf", TEXTS, special=special) == ours


@pytest.mark.parametrize(
    ("ends", "stops"), [(0, {0}), ([0, 300], {0, 300}), ([300, 0, 301], {0, 300, 301})]
)
def test_llama_cpp_stops_at_every_end_token(
    ends: int | list[int], stops: set[int], byte_level: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(byte_level, tmp_path / "tokenizer")
    settings = {"eos_token_id": ends, "do_sample": True, "temperature": 0.5}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama")), folder)
    assert llamacpp.end_tokens(tmp_path / "m.gguf") == stops
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert (keys["tokenizer.ggml.eos_token_id"], keys["general.sampling.temp"]) == (0, 0.5)


def test_end_tokens_that_a_file_has_no_key_for_are_said(
    byte_level: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(byte_level, tmp_path / "tokenizer")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 300, 301, 302]}))
    check_form(checkpoint_of(random_model("llama")), folder)
    assert "will not stop at tokens [302]" in caplog.text


def test_a_byte_level_files_keys(byte_level: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama")), byte_level)
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert keys["tokenizer.ggml.model"] == "gpt2"
    assert keys["tokenizer.ggml.pre"] == "gpt-2"
    assert keys["tokenizer.ggml.eos_token_id"] == 0
    assert keys["tokenizer.ggml.add_bos_token"] is False
    assert "<|user|>" in keys["tokenizer.chat_template"]
    assert len(keys["tokenizer.ggml.tokens"]) == VOCABULARY
    assert keys["tokenizer.ggml.tokens"][-1] == f"[PAD{VOCABULARY - 1}]"
    control, normal, unused = 3, 1, 5
    types = keys["tokenizer.ggml.token_type"]
    assert [types[i] for i in (0, 1, 300, -1)] == [control, control, normal, unused]


def test_a_sentencepiece_files_keys(byte_fallback: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("gemma3_text")), byte_fallback)
    keys = read_gguf_header(tmp_path / "m.gguf").metadata
    assert keys["tokenizer.ggml.model"] == "llama"
    assert keys["tokenizer.ggml.add_space_prefix"] is False
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.bos_token_id"] == 2
    unknown, control, byte = 2, 3, 6
    assert keys["tokenizer.ggml.token_type"][2:5] == [control, unknown, byte]


def test_regular_expressions_tell_the_split(llama3_split: Path, tmp_path: Path) -> None:
    assert read_vocabulary(llama3_split, VOCABULARY).keys["ggml.pre"] == "llama-bpe"
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])
    assert read_vocabulary(trained(tmp_path, digits), VOCABULARY).keys["ggml.pre"] == "smollm"


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "qwen2", "llama-bpe"])
def test_a_name_gives_back_its_split(pre: str, tmp_path: Path) -> None:
    folder = trained(tmp_path, splitter(pre))
    if pre == "llama-bpe":
        data = json.loads((folder / "tokenizer.json").read_text())
        data["model"]["ignore_merges"] = True
        (folder / "tokenizer.json").write_text(json.dumps(data))
    assert read_vocabulary(folder, VOCABULARY).keys["ggml.pre"] == pre
    assert splitter("nothing") is None


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), BYTES])
    with pytest.raises(ExportError, match="pretokenizers.yml"):
        read_vocabulary(trained(tmp_path, splitter), VOCABULARY)


def test_a_tokenizer_that_llama_cpp_would_read_differently_is_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path / "t", BYTES, normalizers.Lowercase())
    with pytest.raises(ExportError, match="Hello, world!"):
        write_gguf(tmp_path / "m.gguf", checkpoint_of(random_model("llama")), folder)
    assert not list(tmp_path.glob("*.gguf"))
    with pytest.raises(ExportError, match="Hello, world!"):
        check_form(checkpoint_of(random_model("llama")), folder)


def test_missing_and_oversized_tokenizers_are_refused(byte_level: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="tokenizer.json"):
        read_vocabulary(tmp_path, VOCABULARY)
    with pytest.raises(ExportError, match="embedding 100"):
        read_vocabulary(byte_level, 100)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["type"] == "WordLevel"
    with pytest.raises(ExportError, match="WordLevel"):
        read_vocabulary(tmp_path, VOCABULARY)
