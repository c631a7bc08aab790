"""A folder's tokenizer is read, or refused by the file's name and the key's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_folders import edit, saved, seed
from transformers import AutoTokenizer

from birdbone.errors import BirdboneError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path)
    return tmp_path


class TestTokenizers:
    def test_of_an_unknown_schema(self, folder: Path) -> None:
        found = json.loads((folder / "tokenizer.json").read_text())
        edit(
            folder / "tokenizer.json", model={**found["model"], "type": "BPE2", "merges": {"a": 1}}
        )
        with pytest.raises(
            BirdboneError, match=r"tokenizer\.json is no tokenizer that tokenizers [\d.]+ reads"
        ):
            seed(folder)

    @pytest.mark.parametrize("value", [7, "byte", {"type": "Sideways"}])
    def test_with_a_part_of_an_unknown_kind(self, value: object, folder: Path) -> None:
        edit(folder / "tokenizer.json", pre_tokenizer=value)
        with pytest.raises(BirdboneError, match=r"tokenizer\.json is no tokenizer"):
            seed(folder)

    def test_whose_settings_are_of_a_wrong_kind(self, folder: Path) -> None:
        edit(folder / "tokenizer_config.json", tokenizer_class=7)
        with pytest.raises(BirdboneError, match=r"tokenizer_config\.json: tokenizer_class"):
            seed(folder)

    def test_of_the_folders_own_python(self, folder: Path) -> None:
        (folder / "own.py").write_text(f"open('{folder}/RAN', 'w')\n")
        edit(
            folder / "tokenizer_config.json",
            tokenizer_class="Own",
            auto_map={"AutoTokenizer": ["own.Own", None]},
        )
        with pytest.raises(BirdboneError, match=r"tokenizer_config\.json: .*Own.*never runs"):
            seed(folder)
        assert not (folder / "RAN").exists()

    def test_that_are_missing(self, folder: Path) -> None:
        for file in folder.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(
            BirdboneError, match=rf"{folder} has no tokenizer: tokenizer\.json is missing"
        ):
            seed(folder)

    def test_that_are_not_read_where_tokenizer_json_is_missing(self, folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer.model").write_bytes(b"no sentencepiece")
        with pytest.raises(BirdboneError, match=r"tokenizer\.model"):
            seed(folder)

    def test_whose_chat_template_does_not_parse(self, folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(
            "{% for message in messages %}{{ message.content }"
        )
        with pytest.raises(
            BirdboneError, match=r"chat_template\.jinja: its chat template does not parse"
        ):
            seed(folder)

    def test_without_an_end_token_are_taken_as_they_are(self, folder: Path, tmp_path: Path) -> None:
        edit(folder / "tokenizer_config.json", eos_token=None, bos_token=None)
        _, write = seed(folder)
        write(tmp_path / "written")
        assert (
            AutoTokenizer.from_pretrained(tmp_path / "written", trust_remote_code=False).eos_token
            is None
        )
