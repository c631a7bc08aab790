"""An adapter beside or instead of a model is said; ``model.adapter`` merges it first, exactly or
not at all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from families import logits, random_model, tokens
from model_folders import CORPUS, VOCABULARY, add, edit, saved
from peft import IA3Config, LoraConfig, PromptTuningConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from birdbone.errors import BirdboneError
from birdbone.model.network import build
from birdbone.pipelines.seed.load import load_seed
from birdbone.sources.adapter import about
from birdbone.sources.load import config_of, load
from birdbone.sources.locate import locate
from birdbone.text.tokenizer import train_tokenizer

LORA = {
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "down_proj"],
    "init_lora_weights": False,
}
KINDS = {
    "LoRA": ("llama", LoraConfig(**LORA, task_type="CAUSAL_LM")),
    "DoRA": ("llama", LoraConfig(**LORA, use_dora=True, task_type="CAUSAL_LM")),
    "rank-stabilized": (
        "llama",
        LoraConfig(**LORA, use_rslora=True, rank_pattern={"q_proj": 2}, task_type="CAUSAL_LM"),
    ),
    "a trained embedding and head": (
        "llama",
        LoraConfig(**LORA, modules_to_save=["embed_tokens", "lm_head"], task_type="CAUSAL_LM"),
    ),
    "GPT-2's fused matrices": (
        "gpt2",
        LoraConfig(
            r=4,
            target_modules=["c_attn"],
            init_lora_weights=False,
            fan_in_fan_out=True,
            task_type="CAUSAL_LM",
        ),
    ),
    "IA3": (
        "llama",
        IA3Config(
            target_modules=["k_proj", "down_proj"],
            feedforward_modules=["down_proj"],
            init_ia3_weights=False,
            task_type="CAUSAL_LM",
        ),
    ),
}


def merged(base: Path, adapter: Path):
    return load(locate({"name": str(base), "adapter": str(adapter)}, {}), 0, list)


def adapted(base: Path, folder: Path, config, name: str = "llama"):
    """An adapter saved to a folder, its trained modules changed; returns peft's own network."""
    model = saved(base, name)
    torch.manual_seed(1)
    network = get_peft_model(model, config)
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if "modules_to_save" in parameter_name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    network.save_pretrained(folder)
    return network.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_computes_what_peft_computes(kind: str, tmp_path: Path) -> None:
    name, config = KINDS[kind]
    network = adapted(tmp_path / "base", tmp_path / "adapter", config, name)
    with torch.no_grad():
        wanted = network(input_ids=tokens()).logits
    found, _ = merged(tmp_path / "base", tmp_path / "adapter")
    plain, _ = load(locate(str(tmp_path / "base"), {}), 0, list)
    assert (logits(build(plain), tokens()) - wanted).abs().max() > 0.01
    torch.testing.assert_close(logits(build(found), tokens()), wanted, atol=1e-4, rtol=1e-4)
    assert found.weights.keys() - {"lm_head.weight"} == plain.weights.keys() - {"lm_head.weight"}


def test_the_seed_says_which_adapter_is_in_it(tmp_path: Path) -> None:
    adapted(tmp_path / "base", tmp_path / "adapter", KINDS["LoRA"][1])
    model = {"name": str(tmp_path / "base"), "adapter": str(tmp_path / "adapter")}
    seed, _, said = load_seed(model, {}, "news", 0)
    assert said["adapter"] == about(tmp_path / "adapter")
    assert (said["adapter"]["name"], said["digest"]) == ("adapter", seed.digest)


def test_one_folder_may_hold_both(tmp_path: Path) -> None:
    network = adapted(tmp_path, tmp_path, KINDS["LoRA"][1])
    with pytest.raises(
        BirdboneError,
        match=r"a model and an adapter beside it.*model\.adapter.*remove adapter_config",
    ):
        load(locate(str(tmp_path), {}), 0, list)
    with torch.no_grad():
        wanted = network(input_ids=tokens()).logits
    torch.testing.assert_close(
        logits(build(merged(tmp_path, tmp_path)[0]), tokens()), wanted, atol=1e-4, rtol=1e-4
    )


def test_an_adapter_alone_names_its_base_and_the_ways_out(tmp_path: Path) -> None:
    adapted(tmp_path / "base", tmp_path / "adapter", KINDS["LoRA"][1])
    edit(tmp_path / "adapter/adapter_config.json", base_model_name_or_path="owner/base")
    for read in (config_of, lambda source: load(source, 0, list)):
        with pytest.raises(
            BirdboneError,
            match=r"only an adapter, of the base model owner/base.*model\.adapter.*merge",
        ):
            read(locate(str(tmp_path / "adapter"), {}))


def test_added_tokens_come_with_their_rows_and_their_tokenizer(tmp_path: Path) -> None:
    saved(tmp_path / "base")
    model = random_model("llama", vocab_size=VOCABULARY)
    model.resize_token_embeddings(VOCABULARY + 2)
    tokenizer = train_tokenizer(CORPUS, VOCABULARY)
    tokenizer.add_tokens([f"<new {i}>" for i in range(VOCABULARY + 2 - len(tokenizer))])
    network = get_peft_model(
        model, LoraConfig(**LORA, modules_to_save=["embed_tokens"], task_type="CAUSAL_LM")
    )
    network.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    found, write_tokenizer = merged(tmp_path / "base", tmp_path / "adapter")
    assert (
        found.weights["model.embed_tokens.weight"].shape[0]
        == found.config["vocab_size"]
        == VOCABULARY + 2
    )
    write_tokenizer(tmp_path / "tokenizer")
    written = AutoTokenizer.from_pretrained(tmp_path / "tokenizer", trust_remote_code=False)
    assert len(written) == len(tokenizer) and "<new 0>" in written.get_vocab()


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(tmp_path: Path) -> None:
    adapted(tmp_path / "base", tmp_path / "adapter", KINDS["LoRA"][1])
    tokenizer = train_tokenizer(CORPUS, VOCABULARY)
    tokenizer.add_tokens([f"<new {i}>" for i in range(VOCABULARY)])
    tokenizer.save_pretrained(tmp_path / "adapter")
    with pytest.raises(BirdboneError, match=rf"{tmp_path}/adapter: its tokenizer has \d+ tokens"):
        merged(tmp_path / "base", tmp_path / "adapter")


class TestRefusals:
    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Path:
        adapted(tmp_path / "base", tmp_path / "adapter", KINDS["LoRA"][1])
        return tmp_path / "adapter"

    def test_of_another_shape_names_the_tensor(self, adapter: Path) -> None:
        state = load_file(adapter / "adapter_model.safetensors")
        state["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"] = torch.ones(3, 4)
        save_file(state, adapter / "adapter_model.safetensors")
        with pytest.raises(
            BirdboneError,
            match=r"layers\.0\.self_attn\.q_proj\.lora_B\.weight is of shape \[3, 4\]",
        ):
            merged(adapter.parent / "base", adapter)

    def test_without_a_place_names_the_tensor(self, adapter: Path) -> None:
        state = load_file(adapter / "adapter_model.safetensors")
        state["base_model.model.model.layers.7.self_attn.q_proj.lora_B.weight"] = torch.ones(3, 4)
        save_file(state, adapter / "adapter_model.safetensors")
        with pytest.raises(BirdboneError, match=r"no place for its tensor .*layers\.7"):
            merged(adapter.parent / "base", adapter)

    def test_that_lacks_a_tensor(self, adapter: Path) -> None:
        state = load_file(adapter / "adapter_model.safetensors")
        del state["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"]
        save_file(state, adapter / "adapter_model.safetensors")
        with pytest.raises(
            BirdboneError, match=r"adapter_model\.safetensors lacks 1 tensors, such as .*layers\.1"
        ):
            merged(adapter.parent / "base", adapter)

    def test_of_a_kind_that_is_not_merged(self, adapter: Path) -> None:
        prompt = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=4)
        get_peft_model(random_model("llama", vocab_size=VOCABULARY), prompt).save_pretrained(
            adapter
        )
        with pytest.raises(
            BirdboneError, match=r"adapter_config\.json: .*'PROMPT_TUNING' cannot be merged"
        ):
            merged(adapter.parent / "base", adapter)

    def test_pickled(self, adapter: Path) -> None:
        (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
        with pytest.raises(BirdboneError, match=r"adapter_model\.bin is a pickle"):
            merged(adapter.parent / "base", adapter)

    def test_with_nan(self, adapter: Path) -> None:
        state = load_file(adapter / "adapter_model.safetensors")
        next(iter(state.values()))[0, 0] = float("nan")
        save_file(state, adapter / "adapter_model.safetensors")
        with pytest.raises(BirdboneError, match=r"adapter_model\.safetensors: tensor .* NaN"):
            merged(adapter.parent / "base", adapter)

    @pytest.mark.parametrize("target", ["no_such_module", 7, None])
    def test_for_modules_that_are_not_there(self, adapter: Path, target: object) -> None:
        edit(
            adapter / "adapter_config.json",
            target_modules=[target] if target == "no_such_module" else target,
        )
        with pytest.raises(BirdboneError, match=r"adapter .*/adapter does not fit the model"):
            merged(adapter.parent / "base", adapter)

    @pytest.mark.parametrize(
        "asked", [{"adapter": "x"}, {"name": "x", "adaptor": "y"}, {"name": 7}]
    )
    def test_of_a_parameter_that_says_something_else(self, asked: dict) -> None:
        with pytest.raises(
            BirdboneError, match="parameter model: give a name, or name and adapter"
        ):
            locate(asked, {})

    def test_that_is_no_folder(self, adapter: Path) -> None:
        with pytest.raises(BirdboneError, match=r"parameter model\.adapter: nowhere is no folder"):
            locate({"name": str(adapter.parent / "base"), "adapter": "nowhere"}, {})


def test_adapters_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    adapted(tmp_path / "base", tmp_path / "a", KINDS["LoRA"][1])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert about(tmp_path / "a")["digest"] == about(tmp_path / "b")["digest"]
    state = load_file(tmp_path / "b/adapter_model.safetensors")
    save_file({n: t + 1 for n, t in state.items()}, tmp_path / "b/adapter_model.safetensors")
    assert about(tmp_path / "a")["digest"] != about(tmp_path / "b")["digest"]


def test_weights_of_an_adapter_in_the_models_own_file_are_no_model(tmp_path: Path) -> None:
    saved(tmp_path)
    add(tmp_path, **{"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 64)})
    with pytest.raises(BirdboneError, match="an adapter that was not merged"):
        load(locate(str(tmp_path), {}), 0, list)
