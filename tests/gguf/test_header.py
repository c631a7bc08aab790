"""A damaged GGUF file is told by its header, whatever its numbers claim."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdbone.errors import ArtifactError
from birdbone.gguf.header import quantized_type, read_gguf_header, tensor_types

ANY_BYTES = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_array("llama.widths", [32, 64])
    writer.add_array("tokenizer.ggml.tokens", ["a", "bé", ""])
    writer.add_array("flags", [True, False])
    writer.add_float64("pi", 3.5)
    writer.add_tensor("a.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor(
        "b.weight", np.zeros((4, 36), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def damaged(good: Path, folder: Path, old: bytes, new: bytes) -> Path:
    data = good.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    (folder / "bad.gguf").write_bytes(data.replace(old, new))
    return folder / "bad.gguf"


def test_a_good_file_is_read_as_gguf_py_reads_it(good: Path) -> None:
    header, theirs = read_gguf_header(good), gguf.GGUFReader(good)
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.widths": [32, 64],
        "tokenizer.ggml.tokens": ["a", "bé", ""],
        "flags": [True, False],
        "pi": 3.5,
    }
    assert tensor_types(good) == {"a.weight": "F32", "b.weight": "Q4_0"}
    for tensor in theirs.tensors:
        ours = header.tensors[tensor.name]
        assert (ours.offset, ours.nbytes) == (tensor.data_offset, tensor.n_bytes)
        assert ours.shape == tuple(tensor.shape.tolist()[::-1])


def test_a_files_type_is_that_of_most_bytes_of_its_blocks(good: Path, tmp_path: Path) -> None:
    assert quantized_type(good) is None  # no blocks
    writer = gguf.GGUFWriter(tmp_path / "odd-F16.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((99, 64), np.float16))
    writer.add_tensor(
        "blk.0.ffn_up.weight", np.zeros((4, 36), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0
    )
    writer.add_tensor(
        "blk.0.ffn_gate.weight",
        np.zeros((2, 34), np.uint8),
        raw_dtype=gguf.GGMLQuantizationType.Q8_0,
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert quantized_type(tmp_path / "odd-F16.gguf") == "Q4_0"


def test_every_truncation_is_found(good: Path, tmp_path: Path) -> None:
    data, path = good.read_bytes(), tmp_path / "cut.gguf"
    end = max(t.offset + t.nbytes for t in read_gguf_header(good).tensors.values())
    for length in range(end):
        path.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match=r"cut\.gguf"):
            read_gguf_header(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"GGUF\x03", b"GGML\x03", "magic"),
        (b"GGUF\x03\0\0\0", b"GGUF\x09\0\0\0", "version 9"),
        (
            b"GGUF\x03\0\0\0" + struct.pack("<Q", 2),
            b"GGUF\x03\0\0\0" + struct.pack("<Q", 2**60),
            "tensors",
        ),
        (struct.pack("<QQ", 2, 6), struct.pack("<QQ", 2, 2**61), "keys"),
        (
            struct.pack("<Q", 20) + b"general.arch",
            struct.pack("<Q", 2**63) + b"general.arch",
            "a string",
        ),
        (struct.pack("<IIQ", 9, 8, 3), struct.pack("<IIQ", 9, 8, 2**62), "an array of strings"),
        (struct.pack("<IIQ", 9, 5, 2), struct.pack("<IIQ", 9, 5, 2**62), "an array"),
        (struct.pack("<IIQ", 9, 5, 2), struct.pack("<IIQ", 9, 99, 2), "array type 99"),
        (b"b\xc3\xa9", b"b\xff\xff", "decode"),
        (b"b.weight", b"a.weight", "twice"),
        (struct.pack("<QQI", 64, 4, 2), struct.pack("<QQI", 2**40, 4, 2), "ends at byte"),
        (struct.pack("<QQI", 64, 4, 2), struct.pack("<QQI", 60, 4, 2), "blocks of 32"),
        (struct.pack("<QQI", 64, 4, 2), struct.pack("<QQI", 64, 4, 77), "unknown type 77"),
        (b"b.weight" + struct.pack("<I", 2), b"b.weight" + struct.pack("<I", 9), "9 dimensions"),
    ],
)
def test_damage_is_named(good: Path, tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as error:
        read_gguf_header(damaged(good, tmp_path, old, new))
    assert "bad.gguf" in str(error.value)


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    for name in ("empty.gguf", "missing.gguf"):
        with pytest.raises(ArtifactError, match=name):
            read_gguf_header(tmp_path / name)


@ANY_BYTES
@given(at=st.integers(0, 400), new=st.binary(min_size=1, max_size=16))
def test_any_damage_is_read_or_refused_without_a_large_allocation(
    good: Path, tmp_path: Path, at: int, new: bytes
) -> None:
    data = bytearray(good.read_bytes())
    data[at : at + len(new)] = new
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        read_gguf_header(path)
    except ArtifactError as error:
        assert "bad.gguf" in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000
