"""Tensors come back bit for bit, or an error names the one that does not."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdbone.datasets.tensors import load_tensors, save_tensors
from birdbone.errors import ArtifactError
from birdbone.model.checkpoint import tensor_digest, tensors_digest

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]


@st.composite
def tensors(draw) -> torch.Tensor:
    """Any bit pattern of any dtype, NaN and -0.0 among them; 0-d and empty shapes too."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 9), max_size=3))
    count = int(torch.tensor(shape).prod()) if shape else 1
    if dtype == torch.bool:
        return torch.tensor(
            draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=dtype
        ).reshape(shape)
    size = dtype.itemsize
    raw = bytearray(draw(st.binary(min_size=count * size, max_size=count * size)))
    found = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    found = found.clone().reshape(shape)
    return found.T if found.dim() == 2 and draw(st.booleans()) else found


def bits(tensor: torch.Tensor) -> bytes:
    return (
        bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""
    )


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text("abc.|_0", min_size=1, max_size=8), tensors(), max_size=4))
def test_every_bit_comes_back(stored):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        found = load_tensors(path, save_tensors(stored, path))
    assert found.keys() == stored.keys()
    for name, tensor in stored.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert bits(found[name]) == bits(tensor)
    assert tensors_digest(found) == tensors_digest(stored)


def test_masks_take_a_bit_each(tmp_path):
    save_tensors({"mask": torch.ones(1000, 80, dtype=torch.bool)}, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").stat().st_size < 1000 * 80 / 8 + 200


def test_digests_tell_minus_zero_shapes_and_dtypes_apart():
    same = [
        torch.zeros(4),
        -torch.zeros(4),
        torch.zeros(2, 2),
        torch.zeros(4, dtype=torch.int32),
        torch.zeros(8).half(),
    ]
    assert len({tensor_digest(t) for t in same}) == len(same)


def test_a_digest_does_not_depend_on_memory_layout():
    tensor = torch.arange(12.0).reshape(3, 4)
    assert tensor_digest(tensor.T) == tensor_digest(tensor.T.contiguous()) != tensor_digest(tensor)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "t.safetensors"
    return path, save_tensors({"first": torch.rand(64), "second": torch.rand(64) > 0.5}, path)


def test_a_flipped_byte_names_file_and_tensor(stored):
    path, records = stored
    whole = path.read_bytes()
    for place, name in ((-1, "second"), (-9, "first")):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=rf"{path}: tensor {name} does not match"):
            load_tensors(path, records)


def test_no_flipped_bit_of_the_header_gives_other_tensors(stored):
    path, records = stored
    whole = path.read_bytes()
    good = load_tensors(path, records)
    for place in range(8 + int.from_bytes(whole[:8], "little")):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = load_tensors(path, records)
        except ArtifactError as error:
            assert str(path) in str(error)
        else:
            assert all(torch.equal(found[n], good[n]) for n in good)


@pytest.mark.parametrize("keep", [0, 4, 40, 300])
def test_a_truncated_file_is_named(stored, keep):
    path, records = stored
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=rf"{path} is truncated or corrupted"):
        load_tensors(path, records)


def test_a_missing_file_is_named(stored):
    stored[0].unlink()
    with pytest.raises(ArtifactError, match=str(stored[0])):
        load_tensors(*stored)


def test_other_tensors_than_the_manifests_are_refused(stored):
    path, records = stored
    with pytest.raises(ArtifactError, match="does not hold the tensors"):
        load_tensors(path, {"first": records["first"]})


def test_a_mask_too_short_for_its_shape_names_its_file(stored):
    path, records = stored
    records["second"]["shape"] = [4096]
    with pytest.raises(ArtifactError, match=str(path)):
        load_tensors(path, records)
