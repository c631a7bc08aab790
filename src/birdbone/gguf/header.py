"""Read and check a GGUF file's header before anything is allocated by its numbers.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from birdbone.errors import ArtifactError

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LEAST_KEY, LEAST_TENSOR = 13, 24
LONGEST_NAME, MOST_DIMENSIONS = 64, 4
UNQUANTIZED = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file. shape: as PyTorch has it (rows first); offset: from the file's
    start.
    """

    type: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """A GGUF file's keys and its tensors' places."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def read_gguf_header(path: Path) -> Header:
    """Keys and tensor places of a GGUF file, every number checked against the file's size.

    Raises ArtifactError naming the file when it is no GGUF file, truncated or corrupted.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).header()
    except (_Damage, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is truncated or corrupted: {error}. Fetch or write it again") from error
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read as GGUF: {error}") from error


def tensor_types(path: Path) -> dict[str, str]:
    """The ggml type of every tensor in a file: ``{"blk.0.ffn_up.weight": "Q4_0", ...}``."""
    return {name: tensor.type for name, tensor in read_gguf_header(path).tensors.items()}


def quantized_type(path: Path) -> str | None:
    """The ggml type below whole floats that most bytes of a file's blocks have; None where none
    has.
    """
    sizes: Counter[str] = Counter()
    for name, tensor in read_gguf_header(path).tensors.items():
        if name.startswith("blk.") and tensor.type not in UNQUANTIZED:
            sizes[tensor.type] += tensor.nbytes
    return max(sizes, key=sizes.__getitem__, default=None)


class _Damage(Exception):
    """What is wrong with the bytes."""


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.size, self.at = data, len(data), 0

    def header(self) -> Header:
        if self.size < LEAST_TENSOR or self.data[:4] != b"GGUF":
            raise _Damage("it does not start with GGUF's magic bytes")
        self.at = 4
        version = self.scalar("I")
        if version not in (2, 3):
            raise _Damage(f"GGUF version {version}; versions 2 and 3 are read")
        tensor_count, key_count = self.scalar("Q"), self.scalar("Q")
        self.check(tensor_count * LEAST_TENSOR + key_count * LEAST_KEY, f"{tensor_count} tensors and {key_count} keys")
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self.string()
            if key in metadata:
                raise _Damage(f"key {key!r} appears twice")
            metadata[key] = self.value(self.scalar("I"))
        infos = [self.tensor_info() for _ in range(tensor_count)]
        return Header(metadata, self.placed(infos, metadata.get("general.alignment", 32)))

    def check(self, nbytes: int, what: str) -> None:
        if nbytes > self.size - self.at:
            raise _Damage(f"{what} at byte {self.at} would need {nbytes} bytes, {self.size - self.at} are left")

    def scalar(self, code: str) -> Any:
        nbytes = struct.calcsize(code)
        self.check(nbytes, "a number")
        (value,) = struct.unpack_from(f"<{code}", self.data, self.at)
        self.at += nbytes
        return value

    def string(self) -> str:
        length = self.scalar("Q")
        self.check(length, "a string")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind in SCALARS:
            return self.scalar(SCALARS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise _Damage(f"unknown value type {kind} at byte {self.at}")
        inner, length = self.scalar("I"), self.scalar("Q")
        if inner == STRING:
            self.check(length * 8, "an array of strings")
            return [self.string() for _ in range(length)]
        if inner not in SCALARS:
            raise _Damage(f"unknown array type {inner} at byte {self.at}")
        nbytes = struct.calcsize(SCALARS[inner]) * length
        self.check(nbytes, "an array")
        self.at += nbytes
        return list(struct.unpack_from(f"<{length}{SCALARS[inner]}", self.data, self.at - nbytes))

    def tensor_info(self) -> tuple[str, str, tuple[int, ...], int]:
        name, dimensions = self.string(), self.scalar("I")
        if not name or len(name) >= LONGEST_NAME:
            raise _Damage(f"a tensor's name has {len(name)} characters")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise _Damage(f"tensor {name} has {dimensions} dimensions")
        shape = tuple(self.scalar("Q") for _ in range(dimensions))[::-1]
        kind, offset = self.scalar("I"), self.scalar("Q")
        if kind not in GGMLQuantizationType._value2member_map_:
            raise _Damage(f"tensor {name} has the unknown type {kind}")
        return name, GGMLQuantizationType(kind).name, shape, offset

    def placed(self, infos: list, alignment: int) -> dict[str, TensorInfo]:
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise _Damage(f"alignment {alignment!r} is no power of two")
        start = -(-self.at // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for name, kind, shape, offset in infos:
            if name in tensors:
                raise _Damage(f"tensor {name} appears twice")
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
            if shape[-1] % block:
                raise _Damage(f"tensor {name}: rows of {shape[-1]} do not fit {kind}'s blocks of {block}")
            nbytes = math.prod(shape) // block * block_bytes
            if offset % alignment or start + offset + nbytes > self.size:
                end = start + offset + nbytes
                raise _Damage(f"tensor {name} ends at byte {end}, the file at {self.size}")
            tensors[name] = TensorInfo(kind, shape, start + offset, nbytes)
        return tensors
