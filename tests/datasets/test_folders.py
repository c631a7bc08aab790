"""The project's datasets: verified on load, hard-linked when handed on unchanged."""

import json
from contextlib import contextmanager

import pytest
import torch
from kedro.io import DatasetError

from birdbone.datasets.folders import FileFolder, JSONFile, ModelFolder, TensorFolder, TextFile
from birdbone.errors import ArtifactError
from birdbone.model.checkpoint import Checkpoint, tensors_digest
from birdbone.model.masks import Masks
from birdbone.model.units import Nodes

CONFIG = {"model_type": "llama", "num_hidden_layers": 1}


def checkpoint(seed: int = 0) -> Checkpoint:
    generator = torch.Generator().manual_seed(seed)
    weights = {"up.weight": torch.randn(16, 8, generator=generator), "up.bias": torch.randn(16, generator=generator)}
    nodes = {Nodes("ffn", 0): torch.rand(32, generator=generator) > 0.5}
    return Checkpoint(CONFIG, weights, Masks(nodes, {"up.weight": weights["up.weight"] > 0}))


@contextmanager
def refused(match: str):
    """Kedro wraps what a dataset raises: its cause is the project's own error."""
    with pytest.raises(DatasetError, match=match) as caught:
        yield caught
    assert isinstance(caught.value.__cause__, ArtifactError)


def same(a: Checkpoint, b: Checkpoint) -> bool:
    return (
        a.config == b.config
        and all(torch.equal(a.weights[n], w) for n, w in b.weights.items())
        and tensors_digest(a.masks.to_tensors()) == tensors_digest(b.masks.to_tensors())
    )


def samples(folder):
    """One saved dataset of each kind that keeps a folder."""
    files, tensors, model = (folder / n for n in ("files", "tensors", "model"))
    made = FileFolder(str(files)), TensorFolder(str(tensors)), ModelFolder(str(model))
    made[0].save(lambda place: (place / "a.txt").write_text("text") and None)
    made[1].save(({"x": torch.rand(8), "mask": torch.rand(16) > 0.5}, {"unit": "nats"}))
    made[2].save(checkpoint())
    return zip(made, (files, tensors, model), strict=True)


def test_a_model_comes_back_as_it_was(tmp_path):
    store = ModelFolder(str(tmp_path / "m"))
    store.save(checkpoint())
    found = store.load()
    assert same(found, checkpoint()) and found.digest == checkpoint().digest
    assert found.source == tmp_path / "m" and found.evolve({}).source is None


def test_tensors_and_meta_come_back(tmp_path):
    store = TensorFolder(str(tmp_path / "t"))
    store.save(({"x": torch.arange(4)}, {"unit": "nats", "list": [1, 2.5, None]}))
    tensors, meta = store.load()
    assert tensors["x"].tolist() == [0, 1, 2, 3] and meta == {"unit": "nats", "list": [1, 2.5, None]}


def test_one_flipped_bit_in_any_file_of_any_folder_is_found(tmp_path):
    for store, folder in samples(tmp_path):
        for file in [p for p in folder.iterdir() if p.name != "manifest.json"]:
            whole = file.read_bytes()
            damaged = bytearray(whole)
            damaged[-2] ^= 1
            file.write_bytes(damaged)
            assert store.digest() is None
            with refused(match=file.name):
                store.load()
            file.write_bytes(whole)
        assert store.digest() is not None


def test_a_flipped_bit_in_a_manifest_never_changes_what_is_loaded(tmp_path):
    for store, folder in samples(tmp_path):
        path = folder / "manifest.json"
        whole, digest = path.read_bytes(), store.digest()
        for place in range(0, len(whole) - 1, 3):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert store.digest() in (None, digest)
            try:
                store.load()
            except DatasetError as error:
                assert isinstance(error.__cause__, ArtifactError) and str(folder) in str(error.__cause__)
            else:
                assert json.loads(path.read_bytes()) == json.loads(whole)


def test_a_changed_config_of_a_model_is_found(tmp_path):
    store = ModelFolder(str(tmp_path / "m"))
    store.save(checkpoint())
    path = tmp_path / "m" / "manifest.json"
    path.write_text(path.read_text().replace('"num_hidden_layers": 1', '"num_hidden_layers": 7'))
    with refused(match=str(path)):
        store.load()


def test_without_a_manifest_nothing_is_there(tmp_path):
    for store, folder in samples(tmp_path):
        assert store._exists()
        (folder / "manifest.json").unlink()
        assert not store._exists() and store.digest() is None
        with refused(match="no manifest.json"):
            store.load()


def test_an_unchanged_model_is_handed_on_by_hard_links(tmp_path):
    first, second = (ModelFolder(str(tmp_path / n)) for n in ("a", "b"))
    first.save(checkpoint())
    second.save(first.load())
    for name in ("model.safetensors", "masks.safetensors"):
        assert (tmp_path / "a" / name).stat().st_ino == (tmp_path / "b" / name).stat().st_ino
    manifests = [tmp_path / n / "manifest.json" for n in ("a", "b")]
    assert manifests[0].stat().st_ino != manifests[1].stat().st_ino
    assert first.digest() == second.digest() is not None
    assert same(second.load(), checkpoint())


def test_what_was_handed_on_outlives_its_source(tmp_path):
    first, second = (ModelFolder(str(tmp_path / n)) for n in ("a", "b"))
    first.save(checkpoint())
    second.save(first.load())
    first.save(checkpoint(1))
    assert same(second.load(), checkpoint()) and same(first.load(), checkpoint(1))
    assert first.digest() != second.digest()


def test_a_model_saved_over_itself_stays(tmp_path):
    store = ModelFolder(str(tmp_path / "a"))
    store.save(checkpoint())
    store.save(store.load())
    assert same(store.load(), checkpoint())


def test_a_changed_model_is_written_anew(tmp_path):
    first, second = (ModelFolder(str(tmp_path / n)) for n in ("a", "b"))
    first.save(checkpoint())
    second.save(first.load().evolve({"up.bias": torch.zeros(16)}))
    assert (tmp_path / "a" / "model.safetensors").stat().st_ino != (tmp_path / "b" / "model.safetensors").stat().st_ino
    assert not second.load().weights["up.bias"].any() and first.load().weights["up.bias"].any()


def test_digests_follow_the_content_alone(tmp_path):
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        ModelFolder(str(tmp_path / name)).save(checkpoint(seed))
    digests = [ModelFolder(str(tmp_path / n)).digest() for n in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_a_digest_sees_the_meta_and_the_configuration(tmp_path):
    found = []
    for number, meta in enumerate(("nats", "bits")):
        store = TensorFolder(str(tmp_path / f"t{number}"))
        store.save(({"x": torch.zeros(3)}, {"unit": meta}))
        model = ModelFolder(str(tmp_path / f"m{number}"))
        model.save(Checkpoint({**CONFIG, "rope_theta": number}, checkpoint().weights))
        found += [store.digest(), model.digest()]
    assert len(set(found)) == 4


def test_json_comes_back_and_carries_its_own_digest(tmp_path):
    store = JSONFile(str(tmp_path / "a.json"))
    value = {"change": 0.1, "name": "ü", "none": None, "list": [1, "x"]}
    store.save(value)
    assert store.load() == value and store._exists()
    assert "ü" in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize(("old", "new"), [("0.125", "0.126"), ('"name"', '"nome"'), ("accepted", "reverted")])
def test_json_edited_by_hand_is_refused(tmp_path, old, new):
    path = tmp_path / "a.json"
    store = JSONFile(str(path))
    store.save({"change": 0.125, "name": "accepted"})
    path.write_text(path.read_text().replace(old, new))
    assert not store._exists() and store.digest() is None
    with refused(match=rf"{path} was changed"):
        store.load()


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"change": 1}', "\udcff"])
def test_json_that_is_none_of_ours_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content, errors="surrogateescape")
    with refused(match=rf"{path} is corrupted"):
        JSONFile(str(path)).load()
    assert not JSONFile(str(path))._exists()


def test_missing_json_says_what_to_do(tmp_path):
    with refused(match="run the stage that makes it"):
        JSONFile(str(tmp_path / "a.json")).load()


def test_text_comes_back(tmp_path):
    store = TextFile(str(tmp_path / "deep" / "a.csv"))
    assert store.digest() is None and not store._exists()
    store.save("a,ü\n")
    assert store.load() == "a,ü\n" and store.digest() is not None
