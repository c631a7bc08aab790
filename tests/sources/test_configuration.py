"""A folder's configuration and tokenizer are read, or refused by the file's name and the key's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from folders import edit, planned, saved, seed
from transformers import AutoTokenizer

from birdbone.errors import BirdboneError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 9085657\n"
WRONG = [
    ("llama", "hidden_size", "64"),
    ("llama", "hidden_size", None),
    ("llama", "hidden_size", 66),
    ("llama", "num_hidden_layers", None),
    ("llama", "num_hidden_layers", 2.5),
    ("llama", "num_hidden_layers", 10**9),
    ("llama", "num_hidden_layers", True),
    ("llama", "vocab_size", -1),
    ("llama", "vocab_size", 0),
    ("llama", "intermediate_size", [1, 2]),
    ("llama", "num_attention_heads", 0),
    ("llama", "num_attention_heads", {}),
    ("llama", "num_key_value_heads", 3),
    ("llama", "num_key_value_heads", "2"),
    ("llama", "head_dim", 31),
    ("llama", "head_dim", -2),
    ("llama", "rms_norm_eps", "small"),
    ("llama", "rms_norm_eps", None),
    ("llama", "rope_theta", None),
    ("llama", "rope_theta", "10000"),
    ("llama", "rope_parameters", [1]),
    ("llama", "rope_parameters", {"rope_type": "spiral", "rope_theta": 1e4}),
    ("llama", "rope_parameters", {"rope_type": "linear", "rope_theta": 1e4, "factor": "8"}),
    ("llama", "rope_scaling", {"type": "linear", "factor": None}),
    ("llama", "tie_word_embeddings", "true"),
    ("llama", "tie_word_embeddings", None),
    ("llama", "attention_bias", 1),
    ("llama", "hidden_act", "swoosh"),
    ("llama", "hidden_act", None),
    ("llama", "max_position_embeddings", "2048"),
    ("llama", "quantization_config", "gptq"),
    ("mistral", "sliding_window", -8),
    ("gemma3", "layer_types", "full_attention"),
    ("gemma3", "layer_types", ["full_attention"]),
    ("gemma3", "query_pre_attn_scalar", 0),
    ("gpt2", "n_embd", "64"),
    ("gpt2", "n_head", 5),
    ("gpt2", "n_layer", None),
    ("gpt2", "n_inner", -1),
    ("gpt2", "activation_function", []),
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp("models") / name for name in {row[0] for row in WRONG}}
    for name, folder in made.items():
        saved(folder, name)
    return made


@pytest.fixture
def folder(originals: dict[str, Path], tmp_path: Path) -> Path:
    return copied(originals["llama"], tmp_path)


def copied(original: Path, to: Path) -> Path:
    for file in original.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(("name", "key", "value"), WRONG)
def test_a_wrong_value_names_the_file_and_the_key(
    name: str, key: str, value: object, originals: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(originals[name], tmp_path)
    edit(folder / "config.json", **{key: value})
    said = {"hidden_size": "hidden.size", "layer_types": "layer_types|num_hidden_layers"}.get(key, key)
    for read in (planned, seed):
        with pytest.raises(BirdboneError, match=rf"{folder}/config\.json.*({said})") as error:
            read(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "key", ["num_key_value_heads", "head_dim", "rope_scaling", "pad_token_id", "quantization_config"]
)
def test_null_is_a_value_where_the_family_has_a_default(key: str, folder: Path) -> None:
    edit(folder / "config.json", **{key: None})
    try:
        planned(folder)
    except BirdboneError as error:  # the default is another shape than this model's, which is said
        assert "is of shape" in str(error)


@pytest.mark.parametrize("kind", [None, 7, [], "", "falcon"])
def test_an_unknown_family(kind: object, folder: Path) -> None:
    edit(folder / "config.json", model_type=kind)
    with pytest.raises(BirdboneError, match=r"model_type .* is not supported \(known: gemma3_text"):
        planned(folder)


def test_a_model_of_pictures_too(folder: Path) -> None:
    edit(folder / "config.json", model_type="gemma3", text_config={"model_type": "gemma3_text"}, vision_config={})
    with pytest.raises(BirdboneError, match=r"config\.json: model_type 'gemma3' has a text_config.*language model"):
        planned(folder)


def test_code_of_its_own_is_not_run_for_a_known_family(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "own.py").write_text(f"open('{folder}/RAN', 'w')\nclass Own: pass\n")
    edit(folder / "config.json", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"})
    found, _ = seed(folder)
    assert not (folder / "RAN").exists() and "auto_map" not in found.config
    assert "is not run" in caplog.text


@pytest.mark.parametrize("settings", [{"auto_map": {"AutoConfig": "own.Own"}, "model_type": "own"}])
def test_code_of_its_own_for_an_unknown_family_is_refused_and_nobody_asked(
    settings: dict, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.py").write_text(f"open('{folder}/RAN', 'w')\nclass Own: pass\n")
    edit(folder / "config.json", **settings)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    for read in (planned, seed):
        with pytest.raises(BirdboneError, match=r"config\.json: model_type 'own'.*never runs"):
            read(folder)
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
@pytest.mark.parametrize("content", [POINTER, "", "[1, 2]", "{", '"text"', "null", "\0\0"])
def test_a_damaged_file_is_named(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content)
    with pytest.raises(BirdboneError, match=rf"{folder}/{name} is") as error:
        seed(folder)
    assert ("git-lfs" in str(error.value)) is (content == POINTER)


class TestTokenizers:
    def test_of_an_unknown_schema(self, folder: Path) -> None:
        found = json.loads((folder / "tokenizer.json").read_text())
        edit(folder / "tokenizer.json", model={**found["model"], "type": "BPE2", "merges": {"a": 1}})
        with pytest.raises(BirdboneError, match=r"tokenizer\.json is no tokenizer that tokenizers [\d.]+ reads"):
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
        edit(folder / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", None]})
        with pytest.raises(BirdboneError, match=r"tokenizer_config\.json: .*Own.*never runs"):
            seed(folder)
        assert not (folder / "RAN").exists()

    def test_that_are_missing(self, folder: Path) -> None:
        for file in folder.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(BirdboneError, match=rf"{folder} has no tokenizer: tokenizer\.json is missing"):
            seed(folder)

    def test_that_are_not_read_where_tokenizer_json_is_missing(self, folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer.model").write_bytes(b"no sentencepiece")
        with pytest.raises(BirdboneError, match=r"tokenizer\.model"):
            seed(folder)

    def test_whose_chat_template_does_not_parse(self, folder: Path) -> None:
        (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message.content }")
        with pytest.raises(BirdboneError, match=r"chat_template\.jinja: its chat template does not parse"):
            seed(folder)

    def test_without_an_end_token_are_taken_as_they_are(self, folder: Path, tmp_path: Path) -> None:
        edit(folder / "tokenizer_config.json", eos_token=None, bos_token=None)
        _, write = seed(folder)
        write(tmp_path / "written")
        assert AutoTokenizer.from_pretrained(tmp_path / "written", trust_remote_code=False).eos_token is None
