"""Model states: one digest whatever they are stored as, every tensor checked when it is read."""

import json

import pytest
import torch
from hypothesis import given, settings
from model_pairs import CONFIG, DTYPES, SHAPES, any_pairs, digests, flipped, random_bits, tiny
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from birdbone.datasets.folders import ModelFolder
from birdbone.diff.states import State, Tensors, open_state, state_of, write_state
from birdbone.errors import ArtifactError, SourceError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.masks import Masks


def every_kind() -> Checkpoint:
    pairs = [(d, s) for d in DTYPES for s in SHAPES]
    weights = {f"w{i}": random_bits(shape, dtype, i) for i, (dtype, shape) in enumerate(pairs)}
    masks = {f"w{i}": random_bits(s, torch.bool, i) for i, s in enumerate(SHAPES)}
    return Checkpoint(CONFIG, weights, Masks(weights=masks))


def stored(folder, **tensors) -> dict:
    """A Hugging Face folder of one file."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(tensors, folder / "model.safetensors")
    return tensors


def test_a_state_of_every_kind_of_tensor_is_written_and_read(tmp_path):
    model = every_kind()
    assert write_state(tmp_path / "a", state_of(model)) == model.digest == state_of(model).digest
    loaded = ModelFolder(str(tmp_path / "a")).load()
    assert loaded.digest == model.digest and loaded.config == model.config
    assert digests(open_state(tmp_path / "a")) == digests(state_of(model))


def test_both_writers_make_the_same_model(tmp_path):
    model = every_kind()
    ModelFolder(str(tmp_path / "a")).save(model)
    write_state(tmp_path / "b", open_state(tmp_path / "a"))
    a, b = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in "ab")
    assert a.keys() == b.keys() and all(
        a[k] == b[k] for k in ("config", "weights", "masks", "digest")
    )


@settings(deadline=None, max_examples=20)
@given(pair=any_pairs())
def test_the_digest_is_the_checkpoints(pair):
    for state in pair:
        assert (
            state.digest
            == Checkpoint(state.config, dict(state.weights), Masks.from_tensors(state.masks)).digest
        )


def test_a_model_of_no_tensors(tmp_path):
    empty = Checkpoint({}, {})
    assert write_state(tmp_path / "m", state_of(empty)) == empty.digest
    assert (
        ModelFolder(str(tmp_path / "m")).load().digest
        == open_state(tmp_path / "m").digest
        == empty.digest
    )


@pytest.mark.parametrize("tied", [True, False])
def test_hugging_face_folders_whole_and_in_shards_are_one_state(tmp_path, tied):
    config = LlamaConfig(**{**CONFIG, "model_type": "llama"}, tie_word_embeddings=tied)
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="1KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    whole, shards = open_state(tmp_path / "whole"), open_state(tmp_path / "shards")
    assert whole.digest == shards.digest and digests(whole) == digests(shards)
    assert ("lm_head.weight" in whole.weights) != tied and not whole.masks
    held = Checkpoint(json.loads((tmp_path / "whole/config.json").read_text()), dict(whole.weights))
    assert held.digest == whole.digest and torch.equal(
        held.weights["model.norm.weight"], model.model.norm.weight
    )


def test_a_flipped_bit_names_the_tensor(tmp_path):
    write_state(tmp_path / "m", state_of(tiny()))
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(flipped(path.read_bytes(), path.stat().st_size - 30))
    state = open_state(tmp_path / "m")
    with pytest.raises(ArtifactError, match=r"model.safetensors: tensor model\."):
        digests(state)
    with pytest.raises(ArtifactError, match=r"model.safetensors: tensor model\."):
        write_state(tmp_path / "copy", state)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_failed_write_leaves_the_old_folder(tmp_path):
    write_state(tmp_path / "m", state_of(tiny()))
    good = state_of(tiny(1))
    name = "model.norm.weight"
    wrong = Tensors(
        "patch", good.weights.specs, lambda n: good.weights[n] + (n == name), {name: "0" * 64}
    )
    with pytest.raises(ArtifactError, match=f"patch: tensor {name} is not what its digest says"):
        write_state(tmp_path / "m", State(good.config, wrong, good.masks))
    assert open_state(tmp_path / "m").digest == tiny().digest and [
        p.name for p in tmp_path.iterdir()
    ] == ["m"]


def test_a_tensor_of_another_shape_than_told_is_refused(tmp_path):
    state = state_of(tiny())
    wrong = Tensors("source", state.weights.specs, lambda n: state.weights[n].flatten())
    with pytest.raises(ArtifactError, match="source: tensor"):
        write_state(tmp_path / "m", State(state.config, wrong, state.masks))


@pytest.mark.parametrize("name", ["model.safetensors", "masks.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name):
    write_state(tmp_path / "m", state_of(every_kind()))
    whole = (tmp_path / "m" / name).read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 50)):
        (tmp_path / "m" / name).write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=name):
            open_state(tmp_path / "m")


def test_a_manifest_that_lies_is_refused(tmp_path):
    from birdbone.datasets.atomic import signed

    write_state(tmp_path / "m", state_of(tiny()))
    path = tmp_path / "m" / "manifest.json"
    good = json.loads(path.read_text())
    name = "model.norm.weight"
    record = good["weights"][name]
    lies = {
        "digest": {"digest": "0" * 64},
        "another digest of a tensor": {
            "weights": {**good["weights"], name: {**record, "sha256": "0" * 64}}
        },
        "shape": {"weights": {**good["weights"], name: {**record, "shape": [4, 2]}}},
        "type": {"weights": {**good["weights"], name: {**record, "dtype": "int32"}}},
        "unknown type": {"weights": {**good["weights"], name: {**record, "dtype": "float4"}}},
        "no record": {"weights": {**good["weights"], name: None}},
        "tensor that is not there": {"weights": {**good["weights"], "x": record}},
        "no weights": {"weights": []},
        "no config": {"config": None},
    }
    for lie in lies.values():
        path.write_text(signed({k: v for k, v in {**good, **lie}.items() if k != "sha256"}))
        with pytest.raises((ArtifactError, SourceError), match=str(tmp_path / "m")):
            open_state(tmp_path / "m")


def test_pickles_and_folders_without_a_model_are_refused(tmp_path):
    with pytest.raises(SourceError, match="holds no model"):
        open_state(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="neither model.safetensors nor"):
        open_state(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(SourceError, match="pytorch_model.bin is a pickle"):
        open_state(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": "\\ud800"}', "[" * 100_000])
def test_a_config_that_is_no_json_object_is_refused(tmp_path, text):
    stored(tmp_path / "m", w=torch.ones(2))
    (tmp_path / "m" / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match="config.json"):
        open_state(tmp_path / "m")


@pytest.mark.parametrize(
    "index",
    [
        {"w": "b.safetensors"},
        {"w": "gone.safetensors"},
        {"w": "../outside.safetensors"},
        {"w": "a.safetensors", "x": "a.safetensors"},
        {"w": 3},
        {},
        [],
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path, index):
    stored(tmp_path, w=torch.ones(2))
    (tmp_path / "model.safetensors").rename(tmp_path / "a.safetensors")
    save_file({"v": torch.ones(2)}, tmp_path / "b.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(
        ArtifactError, match="does not map|do not agree|gone.safetensors is missing"
    ):
        open_state(tmp_path)


def test_bools_that_are_neither_true_nor_false_are_refused(tmp_path):
    stored(tmp_path, w=torch.tensor([True, True]))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x02")
    with pytest.raises(ArtifactError, match="tensor w is bool"):
        assert open_state(tmp_path).digest


def test_types_that_cannot_be_compared_are_refused(tmp_path):
    stored(tmp_path, w=torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2))
    with pytest.raises(ArtifactError, match="tensor w is of type F4"):
        open_state(tmp_path)
