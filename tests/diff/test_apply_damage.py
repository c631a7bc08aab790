"""Damaged and hostile bundles: a typed error that names the file, or the right result; nothing else."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
import zstandard
from families import cut
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_pairs import all_but, digests, flipped, header_of, healed, masked, tiny

from birdbone.datasets.atomic import canonical_json
from birdbone.diff.apply import Bundle, patched, verify_patches
from birdbone.diff.patch import MASKS_PATCH, WEIGHTS_PATCH, write_patches
from birdbone.diff.states import state_of
from birdbone.errors import ArtifactError, BirdboneError
from birdbone.model.checkpoint import Checkpoint

SEED = tiny(num_hidden_layers=1, bias=True)
GATE = "model.layers.0.mlp.gate_proj.weight"
NORM = "model.norm.weight"


def new() -> Checkpoint:
    model = healed(masked(cut(SEED, {0: all_but(12, 3)}, {}), "model.layers.0.mlp.up_proj.weight", 1))
    model.weights["added"] = torch.ones(4, 3, dtype=torch.bfloat16)
    model.weights[NORM] = model.weights[NORM].half()
    del model.weights["model.layers.0.input_layernorm.weight"]
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage") / "bundle"
    write_patches(state_of(SEED), state_of(new()), state_of(SEED), folder)
    return folder


@pytest.fixture
def bundle(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "bundle")
    return tmp_path / "bundle"


def outcome(folder):
    """What applying and reverting give: every tensor's digest, or the typed error."""
    results = []
    for base, revert in ((SEED, False), (new(), True)):
        try:
            results.append(digests(patched(state_of(base), folder, state_of(SEED), revert)))
        except BirdboneError as error:
            assert str(folder) in str(error)
            results.append(error)
    return results


RIGHT = [digests(state_of(new())), digests(state_of(SEED))]


def assert_harmless(folder) -> None:
    """Right where no damage was in the way, and a typed error elsewhere; ``verify`` finds it in any case."""
    for found, right in zip(outcome(folder), RIGHT, strict=True):
        assert isinstance(found, ArtifactError) or found == right
    with pytest.raises(ArtifactError, match=str(folder)):
        verify_patches(folder)


def test_an_undamaged_bundle_is_right(bundle):
    assert outcome(bundle) == RIGHT
    assert {e.kind for e in Bundle(bundle).weights.header.tensors} == {"xor", "whole", "added", "removed"}


@pytest.mark.parametrize("name", [WEIGHTS_PATCH, MASKS_PATCH])
def test_a_flipped_byte_anywhere_is_found(bundle, name):
    data = (bundle / name).read_bytes()
    for place in sorted({*range(0, 64), *range(0, len(data), 23), len(data) - 1}):
        (bundle / name).write_bytes(flipped(data, place))
        assert_harmless(bundle)


@pytest.mark.parametrize("name", [WEIGHTS_PATCH, MASKS_PATCH])
def test_a_truncated_or_lengthened_file_is_found(bundle, name):
    data = (bundle / name).read_bytes()
    for length in [*range(0, 64, 3), *range(64, len(data), len(data) // 60), len(data) - 1]:
        (bundle / name).write_bytes(data[:length])
        assert_harmless(bundle)
    (bundle / name).write_bytes(data + b"\0")
    assert_harmless(bundle)
    (bundle / name).unlink()
    assert_harmless(bundle)


@pytest.mark.parametrize("length", [0, 1, 2**32, 2**63, 2**64 - 1])
def test_a_header_length_that_lies_allocates_nothing(bundle, length):
    data = (bundle / WEIGHTS_PATCH).read_bytes()
    (bundle / WEIGHTS_PATCH).write_bytes(data[:8] + length.to_bytes(8, "little") + data[16:])
    assert_harmless(bundle)


def test_patches_of_two_bundles_do_not_mix(bundle, tmp_path):
    write_patches(state_of(SEED), state_of(healed(SEED)), None, tmp_path / "other")
    for name in (WEIGHTS_PATCH, MASKS_PATCH):
        own = (bundle / name).read_bytes()
        shutil.copy(tmp_path / "other" / name, bundle / name)
        assert_harmless(bundle)
        (bundle / name).write_bytes(own)
    shutil.copy(bundle / MASKS_PATCH, bundle / WEIGHTS_PATCH)
    assert_harmless(bundle)


def rewrite(path, change, text: bytes | None = None) -> None:
    """The patch with another header, its checksum right."""
    data = path.read_bytes()
    old = header_of(data)
    if text is None:
        header = json.loads(old)
        change(header)
        text = canonical_json(header).encode()
    head = data[:8] + len(text).to_bytes(8, "little") + text
    path.write_bytes(head + hashlib.sha256(head).digest() + data[16 + len(old) + 32 :])


def entry(header: dict, name: str) -> dict:
    return next(e for e in header["tensors"] if e["name"] == name)


def change(tensor: str, **values):
    return lambda header: entry(header, tensor).update(values)


def side(name: str, **values):
    return lambda header: entry(header, name)["new"].update(values)


def frame(name: str, place: int, value: object):
    def apply(header: dict) -> None:
        entry(header, name)["frames"][0][place] = value

    return apply


HOSTILE = {
    "format": lambda h: h.update(format=2),
    "more": lambda h: h.update(more=1),
    "no tensors": lambda h: h.pop("tensors"),
    "digest": lambda h: h.update(new="0" * 64),
    "digest of another kind": lambda h: h.update(new=7),
    "no seed": lambda h: h.update(seed=None),
    "another seed": lambda h: h.update(seed="0" * 64),
    "unknown tensor": lambda h: h["unchanged"].update(extra="0" * 64),
    "twice": lambda h: h["tensors"].append(h["tensors"][-1]),
    "twice elsewhere": lambda h: h["unchanged"].update({GATE: "0" * 64}),
    "order": lambda h: h["tensors"].reverse(),
    "name": change(GATE, name="a\nb"),
    "empty name": change(GATE, name=""),
    "kind": change(GATE, kind="sum"),
    "wrong kind": change(GATE, kind="whole"),
    "xor of one side": change(GATE, old=None),
    "no shape": change(GATE, shape=None),
    "no axis": change(GATE, axis=None),
    "huge shape": change(GATE, shape=[2**47, 8]),
    "huger shape": change(GATE, shape=[2**60, 8]),
    "many dimensions": change(GATE, shape=[1] * 99),
    "negative shape": change(GATE, shape=[-12, -8]),
    "fraction": change(GATE, shape=[12.0, 8]),
    "truth": change(GATE, shape=[True, 8]),
    "text": change(GATE, shape="12"),
    "wider": change(GATE, shape=[24, 8]),
    "turned": change(GATE, shape=[8, 12]),
    "dimension": change(GATE, axis={"mask": "ffn.0", "dim": 2, "entries": 1}),
    "other dimension": change(GATE, axis={"mask": "ffn.0", "dim": 1, "entries": 1}),
    "no entries": change(GATE, axis={"mask": "ffn.0", "dim": 0, "entries": 0}),
    "other entries": change(GATE, axis={"mask": "ffn.0", "dim": 0, "entries": 2}),
    "unknown mask": change(GATE, axis={"mask": "ffn.9", "dim": 0, "entries": 1}),
    "other mask": change(GATE, axis={"mask": "weight.model.layers.0.mlp.up_proj.weight", "dim": 0, "entries": 1}),
    "type": side(GATE, dtype="float64"),
    "unknown type": side(GATE, dtype="float4"),
    "narrower": side(GATE, shape=[10, 8]),
    "flat": side(GATE, shape=[88]),
    "checksum": side(GATE, sha256="0" * 64),
    "checksum text": side(GATE, sha256="z" * 64),
    "added shape": side("added", shape=[3, 4]),
    "added huge": side("added", shape=[2**40]),
    "added empty": side("added", shape=[0]),
    "added bool": side("added", dtype="bool"),
    "no frames": change(GATE, frames=[]),
    "frames twice": lambda h: entry(h, GATE)["frames"].append(entry(h, GATE)["frames"][0]),
    "frame place": frame(GATE, 0, 8),
    "frame far away": frame(GATE, 0, 2**24),
    "negative frame place": frame(GATE, 0, -1),
    "empty frame": frame(GATE, 1, 0),
    "huge frame": frame(GATE, 1, 2**40),
    "longer frame": lambda h: frame(GATE, 1, entry(h, GATE)["frames"][0][1] + 1)(h),
    "frame checksum": frame(GATE, 2, "0" * 64),
    "configuration": lambda h: h.update(config={"old": {}, "new": {}}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_lies_under_a_right_checksum_is_found(bundle, name):
    rewrite(bundle / WEIGHTS_PATCH, HOSTILE[name])
    results = outcome(bundle)
    assert any(isinstance(found, BirdboneError) for found in results)
    assert all(isinstance(found, BirdboneError) or found == right for found, right in zip(results, RIGHT, strict=True))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"[" * 50_000, b'{"format":1}', b"\xff", b'{"format":NaN}', b"9" * 6000],
)
def test_a_header_that_is_something_else_is_found(bundle, text):
    rewrite(bundle / WEIGHTS_PATCH, None, text)
    assert_harmless(bundle)


def test_a_header_of_another_spelling_is_found(bundle):
    text = header_of((bundle / WEIGHTS_PATCH).read_bytes())
    for other in (text + b" ", text[:1] + b" " + text[1:], text.replace(b'{"config"', b'{"format":1,"config"', 1)):
        rewrite(bundle / WEIGHTS_PATCH, None, other)
        assert_harmless(bundle)


def test_a_frame_that_would_unpack_to_more_is_found(bundle):
    """A frame in place of GATE's, every checksum right: too long, two in one, without a length, or no frame."""
    path = bundle / WEIGHTS_PATCH
    data = path.read_bytes()
    raw = np.zeros(12 * 8 * 4, np.uint8)
    open_ended = zstandard.ZstdCompressor(write_content_size=False)
    pack = zstandard.ZstdCompressor().compress
    good = pack(raw)
    bomb = bytearray(pack(bytes(1 << 28)))
    for packed in (
        pack(bytes(1 << 26)),
        bytes(bomb),
        pack(raw[:-4]),
        good + good,
        open_ended.compress(raw),
        b"no",
        b"\0",
    ):
        path.write_bytes(data)
        header = json.loads(header_of(data))
        place = 16 + len(header_of(data)) + 32
        for row in header["tensors"]:
            frames = [f for part in (row, row["old"] or {}, row["new"] or {}) for f in part.get("frames", [])]
            if row["name"] == GATE:
                break
            place += sum(f[1] for f in frames)
        length = frames[0][1]
        path.write_bytes(data[:place] + packed + data[place + length :])
        rewrite(path, change(GATE, frames=[[0, len(packed), hashlib.sha256(packed).hexdigest()]]))
        assert_harmless(bundle)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}))


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path] + [p for k in keys for p in places(value[k], (*path, k))]


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from([WEIGHTS_PATCH, MASKS_PATCH]))
def test_any_value_anywhere_in_a_header_is_harmless(whole, tmp_path, data, name):
    folder = tmp_path / "any"
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    header = json.loads(header_of((folder / name).read_bytes()))
    *way, last = data.draw(st.sampled_from(places(header)[1:]))
    parent = header
    for key in way:
        parent = parent[key]
    parent[last] = data.draw(LEAVES)
    try:
        text = canonical_json(header).encode()
    except UnicodeEncodeError:
        return
    rewrite(folder / name, None, text)
    for found, right in zip(outcome(folder), RIGHT, strict=True):
        assert isinstance(found, BirdboneError) or found == right
