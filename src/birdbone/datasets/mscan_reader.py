"""Reading ``.mscan`` version 2, mapped into memory; the format is defined in docs/mscan.md."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from birdbone.errors import ArtifactError

MAGIC, VERSION = b"MSCAN", 2
HEAD = struct.Struct("<5sHBIII")
FRAME = struct.Struct("<4sIIIIII")
CHUNK, END = b"CHNK", b"DONE"


@dataclass(frozen=True)
class Module:
    """A scanned linear module: its layer and feature counts."""

    name: str
    layer: int
    inputs: int
    outputs: int


class Norms(NamedTuple):
    """Block norms of one module, float32: a [..., in/64] of its input, g [..., out/64] of the
    loss gradient at its output."""

    a: Tensor
    g: Tensor


class Scan:
    """A memory-mapped scan; ``len(scan)`` is its number of tokens.

    version, model, model_digest, block, modules: as written. tokens, sources: text and text set of
    each token. complete: False when the writer was cut off. end: byte behind the last whole frame.
    faults: what is wrong with it, in words.
    """

    version = VERSION
    faults: tuple[str, ...] = ()

    def __init__(self, path: Path, data: np.ndarray, partial: bool) -> None:
        self.path, self.complete = path, False
        self._data, self._chunks, self._verified = data, [], set()
        at = self._read_header()
        try:
            while not self.complete:
                at = self._read_frame(at)
        except _FrameError as torn:
            if self._has_end_mark():
                raise self._corrupted(f"{torn}; scan again") from torn
            if not partial:
                raise self._corrupted(
                    f"{torn}; {len(self)} tokens in {len(self._chunks)} chunks are whole: "
                    "read them with --partial (open_scan(path, partial=True)), or scan again"
                ) from torn
            self._drop_torn_chunk()
        if self.complete and at != len(data):
            raise self._corrupted("bytes follow its end")

    def __len__(self) -> int:
        return self._chunks[-1].start + len(self._chunks[-1].tokens) if self._chunks else 0

    @property
    def tokens(self) -> list[str]:
        return [text for chunk in self._chunks for text in chunk.tokens]

    @property
    def sources(self) -> list[str]:
        return [chunk.source for chunk in self._chunks for _ in chunk.tokens]

    @property
    def chunks(self) -> list[tuple[str, list[str]]]:
        """Text set and token texts of each chunk, as the scanner handed them over."""
        return [(chunk.source, chunk.tokens) for chunk in self._chunks]

    @property
    def heads(self) -> list[bytes]:
        """The frame head of each chunk."""
        return [chunk.head for chunk in self._chunks]

    def token(self, i: int) -> dict[str, Norms]:
        """Norms of one token by module name: a [in/64], g [out/64]."""
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path} has {len(self)} tokens, no number {i}")
        numbers = range(len(self.modules))
        return {name: Norms(n.a[0], n.g[0]) for name, n in self._read(numbers, i, i + 1).items()}

    def layer(self, layer: int, start: int = 0, stop: int | None = None) -> dict[str, Norms]:
        """Norms of one layer's modules over tokens [start, stop): a [T, in/64], g [T, out/64]."""
        return self._read([i for i, m in enumerate(self.modules) if m.layer == layer], start, stop)

    def verify(self) -> None:
        """Compare every chunk's checksum. Raises ArtifactError naming the first that differs."""
        for chunk in self._chunks:
            self._check(chunk)

    def _read(self, numbers: Iterable[int], start: int, stop: int | None) -> dict[str, Norms]:
        """Norms of the modules ``numbers``, which a layer's or a token's are: neighbours, read in one stretch."""
        numbers = list(numbers)
        if not numbers:
            return {}
        start, stop, _ = slice(start, stop).indices(len(self))
        within = [c for c in self._chunks if c.start < stop and c.start + len(c.tokens) > start]
        for chunk in within:
            self._check(chunk)
        sides = range(2 * numbers[0], 2 * numbers[-1] + 2)
        first, last = self._columns[sides[0]].start, self._columns[sides[-1]].stop
        widths = [self._columns[i].stop - self._columns[i].start for i in sides]
        parts = [
            c.values[max(0, start - c.start) : stop - c.start, first:last]
            * np.repeat(c.scales[sides.start : sides.stop], widths)
            for c in within
        ]
        columns = torch.from_numpy(np.concatenate([np.zeros((0, last - first), "f4"), *parts])).split(widths, dim=1)
        return {self.modules[i].name: Norms(*columns[2 * (i - numbers[0]) :][:2]) for i in numbers}

    def _check(self, chunk: _Chunk) -> None:
        if chunk.start not in self._verified:
            if zlib.crc32(chunk.body) != chunk.crc:
                raise self._corrupted(
                    f"tokens {chunk.start} to {chunk.start + len(chunk.tokens) - 1} do not match their checksum"
                )
            self._verified.add(chunk.start)

    def _read_header(self) -> int:
        if len(self._data) < HEAD.size:
            raise self._corrupted("its header is cut off")
        *_, text_size, columns, crc = HEAD.unpack(self._data[: HEAD.size].tobytes())
        size = HEAD.size + text_size + 12 * columns
        if size > len(self._data):
            raise self._corrupted("its header is cut off")
        body = self._data[HEAD.size : size].tobytes()
        if zlib.crc32(self._data[: HEAD.size - 4].tobytes() + body) != crc:
            raise self._corrupted("its header does not match its checksum")
        try:
            head = json.loads(body[:text_size])
            self.model, self.model_digest, self.block = head["model"], head["model_digest"], head["block"]
            self.modules = [Module(**module) for module in head["modules"]]
            table = block_table(self.modules, self.block)
        except (ValueError, KeyError, TypeError) as error:
            raise self._corrupted("its header is not that of a scan") from error
        if table.tobytes() != body[text_size:] or self._data[size : aligned(size)].any():
            raise self._corrupted("its block table does not fit its modules")
        self._columns = column_slices(self.modules, self.block)
        self.end = aligned(size)
        return self.end

    def _read_frame(self, at: int) -> int:
        """Take in the frame at an offset; return where the next one begins."""
        head = self._data[at : at + FRAME.size].tobytes()
        if len(head) < FRAME.size:
            raise _FrameError("its writer was cut off")
        kind, index, count, text_size, meta_crc, crc, own_crc = FRAME.unpack(head)
        if zlib.crc32(head[:-4]) != own_crc or index != len(self._chunks):
            raise _FrameError(f"the frame of chunk {len(self._chunks)} is damaged")
        if kind == END:
            end = at + aligned(FRAME.size)
            chunks = zlib.crc32(b"".join(chunk.head for chunk in self._chunks))
            if (count, crc) != (len(self), chunks) or self._data[at + FRAME.size : end].any():
                raise _FrameError("its end does not fit its chunks")
            self.complete = end <= len(self._data)
            if not self.complete:
                raise _FrameError("its end is cut off")
            return end
        width = self._columns[-1].stop
        scales_at = at + aligned(FRAME.size + text_size)
        values_at = scales_at + aligned(4 * len(self._columns))
        end = values_at + aligned(2 * count * width)
        if end > len(self._data):
            raise _FrameError(f"chunk {index} is cut off")
        meta = self._data[at + FRAME.size : values_at].tobytes()
        if zlib.crc32(meta) != meta_crc:
            raise _FrameError(f"the token texts of chunk {index} do not match their checksum")
        text = json.loads(meta[:text_size])
        self._chunks.append(
            _Chunk(
                at,
                len(self),
                text["tokens"],
                text["source"],
                self._data[scales_at : scales_at + 4 * len(self._columns)].view("<f4"),
                self._data[values_at : values_at + 2 * count * width].view("<f2").reshape(count, width),
                self._data[values_at:end],
                crc,
                head,
            )
        )
        self.end = end
        return end

    def _has_end_mark(self) -> bool:
        head = self._data[-aligned(FRAME.size) :][: FRAME.size].tobytes()
        return head[:4] == END and zlib.crc32(head[:-4]).to_bytes(4, "little") == head[-4:]

    def _drop_torn_chunk(self) -> None:
        """A power cut can leave the last chunk's length on disk without its content."""
        try:
            self._check(self._chunks[-1]) if self._chunks else None
        except ArtifactError:
            self.end = self._chunks.pop().at

    def _corrupted(self, what: str) -> ArtifactError:
        return ArtifactError(f"{self.path} is truncated or corrupted: {what}")


def blocks(features: int, block: int) -> int:
    """Number of runs of ``block`` features; the last may be shorter."""
    return -(-features // block)


def block_table(modules: list[Module], block: int) -> np.ndarray:
    """One row per stored column, u32: module, side (0 A, 1 G), block. Raises ValueError without any."""
    if not modules or block < 1:
        raise ValueError(f"a scan needs modules and blocks of at least 1, got {len(modules)} and {block}")
    return np.array(
        [
            (i, side, b)
            for i, module in enumerate(modules)
            for side, features in enumerate((module.inputs, module.outputs))
            for b in range(blocks(features, block))
        ],
        "<u4",
    )


def column_slices(modules: list[Module], block: int) -> list[slice]:
    """Columns of A and G of each module, alternating: 2·i is A, 2·i + 1 is G of module i."""
    slices, at = [], 0
    for module in modules:
        for features in (module.inputs, module.outputs):
            slices.append(slice(at, at := at + blocks(features, block)))
    return slices


def aligned(size: int) -> int:
    """The next multiple of 64, so that values can be used where they lie."""
    return -(-size // 64) * 64


class _Chunk(NamedTuple):
    at: int
    start: int
    tokens: list[str]
    source: str
    scales: np.ndarray
    values: np.ndarray
    body: np.ndarray
    crc: int
    head: bytes


class _FrameError(Exception):
    """A frame is cut off or damaged."""
