"""A folder's configuration and tokenizer are read, or refused by the file's name and the key's."""

from __future__ import annotations

from pathlib import Path

import pytest
from families import settings_of
from model_folders import edit, planned, saved, seed

from birdbone.errors import BirdboneError
from birdbone.sources.configuration import checked

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
    ("gemma3_text", "layer_types", "full_attention"),
    ("gemma3_text", "layer_types", ["full_attention"]),
    ("gemma3_text", "query_pre_attn_scalar", 0),
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
    said = {"hidden_size": "hidden.size", "layer_types": "layer_types|num_hidden_layers"}.get(
        key, key
    )
    for read in (planned, seed):
        with pytest.raises(BirdboneError, match=rf"{folder}/config\.json.*({said})") as error:
            read(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "key",
    ["num_key_value_heads", "head_dim", "rope_scaling", "pad_token_id", "quantization_config"],
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
    edit(
        folder / "config.json",
        model_type="gemma3",
        text_config={"model_type": "gemma3_text"},
        vision_config={},
    )
    with pytest.raises(
        BirdboneError, match=r"config\.json: model_type 'gemma3' has a text_config.*language model"
    ):
        planned(folder)


def test_code_of_its_own_is_not_run_for_a_known_family(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "own.py").write_text(f"open('{folder}/RAN', 'w')\nclass Own: pass\n")
    edit(
        folder / "config.json",
        auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"},
    )
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
    "name",
    [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ],
)
@pytest.mark.parametrize("content", [POINTER, "", "[1, 2]", "{", '"text"', "null", "\0\0"])
def test_a_damaged_file_is_named(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content)
    with pytest.raises(BirdboneError, match=rf"{folder}/{name} is") as error:
        seed(folder)
    assert ("git-lfs" in str(error.value)) is (content == POINTER)


REFUSED = [
    ("qwen3_5_text", {"layer_types": ["full_attention"] * 2}, "has no linear_attention"),
    ("qwen3_5_text", {"layer_types": ["linear_attention"] * 2}, "has no full_attention"),
    ("qwen3_5_text", {"attention_bias": True}, "attention_bias is true"),
    ("starcoder2", {"use_bias": False}, "use_bias is false"),
    ("gemma4_text", {"layer_types": ["full_attention"] * 2}, "has no sliding_attention"),
    ("gemma4_text", {"enable_moe_block": True}, "enable_moe_block is true"),
    ("gemma4_text", {"use_bidirectional_attention": "all"}, 'is "all"'),
    ("gemma4_text", {"attention_bias": True}, "attention_bias is true"),
    (
        "gemma4_text",
        {
            "num_hidden_layers": 4,
            "layer_types": ["full_attention", "sliding_attention"] * 2,
            "num_kv_shared_layers": 2,
        },
        "must be sliding_attention and full_attention",
    ),
    (
        "gemma4_text",
        {"num_kv_shared_layers": 1, "hidden_size_per_layer_input": 0},
        "transformers fails",
    ),
]


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_layers_that_no_runtime_computes_are_refused_at_load(
    name: str, changes: dict, said: str
) -> None:
    with pytest.raises(BirdboneError, match=f"config.json: .*{said}"):
        checked({**settings_of(name), **changes}, "config.json")
