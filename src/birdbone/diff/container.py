"""The patch file, written and read.

Layout: ``BBPATCH1``, length of the header (u64, little-endian), the header (canonical JSON, see
``header.Header``), SHA-256 of all of that (32 bytes); then the frames in the header's order with
nothing between or behind them. A frame is one zstd stream of at most ``FRAME`` bytes of a tensor.
Its bytes are in planes: the first bytes of all elements, then their second bytes, and so on.
Exponents then lie together and compress. One zstd version gives equal bytes for equal content.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
import zstandard
from pydantic import ValidationError

from birdbone.datasets.atomic import canonical_json, sync, whole_or_nothing
from birdbone.diff.bits import Spec
from birdbone.diff.header import Frame, Header, cuts, width
from birdbone.errors import ArtifactError

MAGIC = b"BBPATCH1"
LEVEL = 1
WORKERS = 2


class PatchWriter:
    """Writes a patch file at once, from frames in a temporary file and then the header."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        self._body = path.with_name(f".{path.name}.tmp-frames-{os.getpid()}")

    def __enter__(self) -> PatchWriter:
        with ExitStack() as stack:
            for file in (self._temporary, self._body):
                stack.callback(file.unlink, missing_ok=True)
            stack.enter_context(whole_or_nothing(self.path))
            self.pool = stack.enter_context(ThreadPoolExecutor(WORKERS))
            self._frames = stack.enter_context(self._body.open("wb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)

    def store(
        self, spec: Spec, cut: Callable[[int, int], np.ndarray], sparse: bool
    ) -> tuple[tuple[Frame, ...], int]:
        """Append a payload; returns its frames and how many of its elements are not zero.

        cut: bytes [start, stop) of the payload, called from several threads. sparse: leave out
        frames of zeros.
        """

        def work(at: int) -> tuple[bytes, str, int]:
            data = np.ascontiguousarray(cut(at, at + width(at, spec.nbytes)))
            count = _nonzero(data, spec)
            packed = b"" if sparse and not count else _squeezed(data, spec.dtype.itemsize)
            return packed, hashlib.sha256(packed).hexdigest(), count

        frames = []
        total = 0
        starts = cuts(spec.nbytes)
        for group in range(0, len(starts), 2 * WORKERS):
            some = starts[group : group + 2 * WORKERS]
            for at, (packed, digest, count) in zip(some, self.pool.map(work, some), strict=True):
                total += count
                if packed:
                    self._frames.write(packed)
                    frames.append((at, len(packed), digest))
        return tuple(frames), total

    def finish(self, header: Header) -> int:
        """Put the file in place; returns its size in bytes. Raises ValueError for a bad header."""
        self._frames.flush()
        text = canonical_json(header.model_dump()).encode()
        Header.model_validate_json(text)
        head = MAGIC + len(text).to_bytes(8, "little") + text
        with self._temporary.open("wb") as file, self._body.open("rb") as frames:
            file.write(head + hashlib.sha256(head).digest())
            shutil.copyfileobj(frames, file, 1 << 20)
            size = file.tell()
        sync(self._temporary)
        os.replace(self._temporary, self.path)
        sync(self.path.parent)
        return size


class PatchFile:
    """A patch file whose header and frame positions are sound. Frames are checked when read."""

    def __init__(self, path: Path) -> None:
        """Raises ArtifactError when the file is missing, truncated, damaged or malformed."""
        self.path = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                head = file.read(16)
                length = int.from_bytes(head[8:], "little")
                if head[:8] != MAGIC or 16 + length + 32 > size:
                    raise self._damaged("it is no patch file, or truncated")
                head += file.read(length)
                if hashlib.sha256(head).digest() != file.read(32):
                    raise self._damaged("its header is damaged")
            self.header = Header.model_validate_json(head[16:])
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise self._damaged(f"its header is malformed: {place} {first['msg']}") from error
        except OSError as error:
            raise ArtifactError(
                f"{path} cannot be read ({error}): fetch it with dvc pull, or git checkout"
            ) from error
        if canonical_json(self.header.model_dump()).encode() != head[16:]:
            raise self._damaged("its header is not canonical JSON")
        self.entries = {e.name: e for e in self.header.tensors}
        self._places: dict[tuple[str, str], int] = {}
        end = 16 + length + 32
        for entry in self.header.tensors:
            for part, (_, frames) in entry.payloads.items():
                self._places[entry.name, part] = end
                end += sum(frame[1] for frame in frames)
        if end != size:
            raise self._damaged(f"it has {size} bytes where its header says {end}")

    def add(self, name: str, part: str, into: np.ndarray) -> None:
        """XOR a payload (``xor``, ``old`` or ``new``) into bytes. Raises ArtifactError."""
        itemsize = self.entries[name].payloads[part][0].dtype.itemsize
        for at, data in self.frames(name, part):
            planes = np.frombuffer(data, np.uint8).reshape(itemsize, -1)
            into[at : at + len(data)].reshape(-1, itemsize)[...] ^= planes.T

    def frames(self, name: str, part: str) -> Iterator[tuple[int, bytes]]:
        """Start and content, bytes still in planes, of each frame of a payload, checked.

        Raises ArtifactError.
        """
        spec, frames = self.entries[name].payloads[part]
        place = self._places[name, part]
        for at, length, digest in frames:
            try:
                with self.path.open("rb") as file:
                    file.seek(place)
                    packed = file.read(length)
            except OSError as error:
                raise self._damaged(f"it can no longer be read ({error})") from error
            place += length
            yield at, self._opened(packed, digest, width(at, spec.nbytes), name)

    def _opened(self, packed: bytes, digest: str, size: int, name: str) -> bytes:
        if hashlib.sha256(packed).hexdigest() != digest:
            raise self._damaged(f"tensor {name} is damaged")
        try:
            if zstandard.get_frame_parameters(packed).content_size != size:
                raise self._damaged(f"tensor {name} has a frame of another length than {size}")
            return zstandard.ZstdDecompressor().decompress(
                packed, max_output_size=size, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise self._damaged(f"tensor {name} does not decompress ({error})") from error

    def _damaged(self, what: str) -> ArtifactError:
        return ArtifactError(
            f"{self.path}: {what}. Restore it with dvc checkout or git checkout, or make it again"
        )


def _nonzero(data: np.ndarray, spec: Spec) -> int:
    if spec.dtype == torch.bool:
        return int(np.bitwise_count(data).sum())
    return int(np.count_nonzero(data.view(f"u{spec.dtype.itemsize}")))


def _squeezed(data: np.ndarray, itemsize: int) -> bytes:
    """Equal bytes of all elements side by side, compressed."""
    planes = np.ascontiguousarray(data.reshape(-1, itemsize).T)
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=False).compress(planes)
