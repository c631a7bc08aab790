"""A seed is found where the user points, and what is wrong with it is said by name."""

import json
import pickle
import shutil

import gguf
import pytest
import torch
from families import FAMILIES, checkpoint_of, logits, random_model, settings_of, tokens
from safetensors.torch import load_file, save_file

from birdbone.errors import (
    ArtifactError,
    BirdboneError,
    NumericalError,
    SourceError,
    UnsupportedArchitectureError,
)
from birdbone.model.checkpoint import tensors_digest
from birdbone.model.network import build
from birdbone.sources.load import load
from birdbone.sources.locate import locate
from birdbone.text.tokenizer import train_tokenizer

PRESETS = {
    "small": {"random": {"model_type": "llama"}, "licence": None},
    "big": {"hub": "owner/big", "revision": "abc", "licence": "mit"},
    "gone": {"package": "no-such-package-here", "file": "x.gguf"},
}
CORPUS = ["the quick brown fox jumps over the lazy dog " * 20]


def nothing() -> list[str]:
    raise AssertionError("only random models need a corpus")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder that holds a sharded llama, its tokenizer and its index."""
    folder = tmp_path_factory.mktemp("models") / "original"
    model = random_model("llama", vocab_size=300)
    model.save_pretrained(folder, max_shard_size="100KB")
    train_tokenizer(CORPUS, 300).save_pretrained(folder)
    return folder, model


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original[0], tmp_path / "model")


def shards(folder) -> list:
    return sorted(folder.glob("*.safetensors"))


def read(folder):
    return load(locate(str(folder), {}), 0, nothing)


class TestLocate:
    def test_presets_come_first_and_carry_what_they_say(self):
        assert locate("small", PRESETS)["kind"] == "random"
        found = locate("big", PRESETS)
        assert (found["kind"], found["id"], found["revision"], found["licence"]) == (
            "hub",
            "owner/big",
            "abc",
            "mit",
        )

    def test_a_preset_whose_package_is_missing_says_how_to_get_it(self):
        with pytest.raises(SourceError, match="pip install no-such-package-here"):
            locate("gone", PRESETS)

    def test_a_preset_of_a_file_says_how_to_get_it(self, tmp_path):
        path = tmp_path / "m.gguf"
        presets = {"mine": {"gguf": str(path), "get": "make mine", "licence": "mit"}}
        with pytest.raises(SourceError, match=r"m\.gguf: get it by `make mine`"):
            locate("mine", presets)
        path.touch()
        found = locate("mine", presets)
        assert (found["kind"], found["path"], found["licence"]) == ("gguf", path, "mit")

    def test_a_folder_a_file_and_a_hub_id(self, tmp_path):
        (tmp_path / "x.gguf").touch()
        assert locate(str(tmp_path), PRESETS)["kind"] == "folder"
        assert locate(str(tmp_path / "x.gguf"), PRESETS)["kind"] == "gguf"
        assert locate("owner/name", PRESETS)["kind"] == "hub"

    def test_a_local_folder_wins_over_a_hub_id_of_that_name(self, tmp_path, monkeypatch):
        (tmp_path / "owner" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert locate("owner/name", PRESETS)["kind"] == "folder"

    @pytest.mark.parametrize("name", ["smal", "./nowhere", "/no/such/folder", "a/b/c"])
    def test_an_unknown_name_lists_what_can_be_given(self, name):
        with pytest.raises(SourceError, match="big, gone, small.*folder with config.json.*hub id"):
            locate(name, PRESETS)

    def test_a_missing_gguf_is_named(self):
        with pytest.raises(SourceError, match="nowhere.gguf: no such GGUF file"):
            locate("nowhere.gguf", PRESETS)

    @pytest.mark.parametrize(
        "name", ["model.bin", "model.pt", "model.PTH", "model.ckpt", "model.pkl"]
    )
    def test_pickles_are_refused_unopened(self, name):
        with pytest.raises(SourceError, match=rf"{name} is a pickle.*save_pretrained"):
            locate(f"/somewhere/{name}", PRESETS)


class TestFolders:
    def test_a_sharded_folder_loads_whole(self, folder, original):
        assert len(shards(folder)) > 2
        checkpoint, save_tokenizer = read(folder)
        assert checkpoint.digest == load(locate(str(original[0]), {}), 7, nothing)[0].digest
        assert tensors_digest(checkpoint.weights) == tensors_digest(
            checkpoint_of(original[1]).weights
        )
        torch.testing.assert_close(
            logits(build(checkpoint), tokens()), logits(original[1], tokens()), atol=1e-5, rtol=0
        )
        save_tokenizer(folder / "tokenizer")
        assert (folder / "tokenizer" / "tokenizer.json").is_file()

    @pytest.mark.parametrize("name", FAMILIES)
    def test_every_family_loads(self, name, tmp_path):
        model = random_model(name, vocab_size=300)
        model.save_pretrained(tmp_path)
        train_tokenizer(CORPUS, 300).save_pretrained(tmp_path)
        checkpoint, _ = read(tmp_path)
        assert tensors_digest(checkpoint.weights) == tensors_digest(checkpoint_of(model).weights)
        torch.testing.assert_close(
            logits(build(checkpoint), tokens()), logits(model, tokens()), atol=1e-5, rtol=0
        )

    def test_half_precision_is_widened(self, tmp_path):
        random_model("llama", vocab_size=300).to(torch.bfloat16).save_pretrained(tmp_path)
        train_tokenizer(CORPUS, 300).save_pretrained(tmp_path)
        assert {w.dtype for w in read(tmp_path)[0].weights.values()} == {torch.float32}

    def test_without_a_config(self, folder):
        (folder / "config.json").unlink()
        with pytest.raises(SourceError, match=rf"{folder} has no config.json"):
            read(folder)

    @pytest.mark.parametrize("content", ["", "{", "[1]", "\0"])
    def test_with_a_damaged_config(self, folder, content):
        (folder / "config.json").write_text(content)
        with pytest.raises(ArtifactError, match=r"config\.json is not (valid JSON|a JSON object)"):
            read(folder)

    def test_of_an_unsupported_family_names_the_file_that_would_add_it(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "falcon"}))
        with pytest.raises(UnsupportedArchitectureError, match=r"families/falcon\.yml"):
            read(folder)

    def test_with_pickled_weights_alone(self, folder):
        for shard in shards(folder):
            shard.unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(SourceError, match=r"pytorch_model\.bin is a pickle"):
            read(folder)

    def test_with_no_weights_at_all(self, folder):
        for shard in shards(folder):
            shard.unlink()
        with pytest.raises(SourceError, match=r"no \*\.safetensors"):
            read(folder)

    def test_with_a_missing_shard(self, folder):
        lost = shards(folder)[1]
        lost.unlink()
        with pytest.raises(ArtifactError, match=rf"shards that are missing: {lost.name}"):
            read(folder)

    @pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": 3}'])
    def test_with_a_damaged_index(self, folder, content):
        (folder / "model.safetensors.index.json").write_text(content)
        with pytest.raises(ArtifactError, match=r"model\.safetensors\.index\.json"):
            read(folder)

    @pytest.mark.parametrize("keep", [0, 5, 60, -1])
    def test_with_a_truncated_shard(self, folder, keep):
        shard = shards(folder)[-1]
        shard.write_bytes(shard.read_bytes()[:keep])
        with pytest.raises(ArtifactError, match=rf"{shard.name} is truncated or corrupted"):
            read(folder)

    def test_with_weights_that_are_missing(self, tmp_path):
        random_model("llama", vocab_size=300).save_pretrained(tmp_path)
        train_tokenizer(CORPUS, 300).save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        del state["model.layers.1.mlp.up_proj.weight"]
        save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ArtifactError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
            read(tmp_path)

    def test_with_weights_of_another_shape(self, tmp_path):
        random_model("llama", vocab_size=300).save_pretrained(tmp_path)
        train_tokenizer(CORPUS, 300).save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        state["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 3)
        save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(SourceError, match=rf"{tmp_path}"):
            read(tmp_path)

    def test_with_weights_that_are_not_finite(self, tmp_path):
        model = random_model("llama", vocab_size=300)
        model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
        model.save_pretrained(tmp_path)
        train_tokenizer(CORPUS, 300).save_pretrained(tmp_path)
        with pytest.raises(NumericalError, match=r"model\.layers\.0\.mlp\.up_proj\.weight"):
            read(tmp_path)

    def test_without_a_tokenizer(self, tmp_path):
        random_model("llama", vocab_size=300).save_pretrained(tmp_path)
        with pytest.raises(SourceError, match=rf"{tmp_path}"):
            read(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 40, b"not a gguf file at all" * 10]
)
def test_a_corrupted_gguf_is_named(tmp_path, content):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(BirdboneError, match=r"x\.gguf"):
        load(locate(str(path), {}), 0, nothing)


def test_a_gguf_of_uneven_widths_is_no_seed(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "deci")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(SourceError, match=r"x\.gguf: .*uneven widths.*folder"):
        load(locate(str(tmp_path / "x.gguf"), PRESETS), 0, nothing)


def test_a_random_model_follows_its_seed_and_stores_no_path():
    preset = {"small": {"random": settings_of("llama", vocab_size=300)}}
    found = [load(locate("small", preset), seed, lambda: CORPUS)[0] for seed in (0, 0, 1)]
    assert found[0].digest == found[1].digest != found[2].digest
    assert not {"_name_or_path", "transformers_version", "dtype", "torch_dtype"} & set(
        found[0].config
    )
