"""``.mscan`` files: A and G norms of every scanned token, streamed to disk and replayed from it.

Made by ``ScanWriter``, read by ``open_scan``, kept in the catalog as ``MscanFile``. Version 2 is
defined in docs/mscan.md; version 1 is read too.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from birdbone.datasets.atomic import canonical_json, file_digest, sync, whole_or_nothing
from birdbone.datasets.folders import Stored
from birdbone.datasets.mscan_open import open_scan
from birdbone.datasets.mscan_reader import (
    CHUNK,
    END,
    FRAME,
    HEAD,
    MAGIC,
    VERSION,
    Module,
    Norms,
    Scan,
    aligned,
    block_table,
    column_slices,
)
from birdbone.errors import ArtifactError, NumericalError

__all__ = ["Module", "MscanFile", "Norms", "Scan", "ScanWriter"]


class ScanWriter:
    """Writes a scan chunk by chunk, each on disk before ``append`` returns.

    A context manager: leaving it in good order writes the end mark. After an error or a kill the
    file is readable with ``open_scan(path, partial=True)`` up to its last whole chunk, and
    ``ScanWriter.extend(path)`` goes on from there.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        model: str,
        model_digest: str,
        modules: list[Module],
        block: int = 64,
    ) -> None:
        self._begin(Path(path), modules, block)
        text = canonical_json(
            {
                "model": model,
                "model_digest": model_digest,
                "block": block,
                "modules": [asdict(m) for m in modules],
            }
        ).encode()
        table = block_table(modules, block)
        head = HEAD.pack(MAGIC, VERSION, 0, len(text), len(table), 0)[:-4]
        body = text + table.tobytes()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        self._write(head + zlib.crc32(head + body).to_bytes(4, "little") + body)

    @classmethod
    def extend(cls, path: str | Path) -> ScanWriter:
        """Go on after the last whole chunk of a scan, whole or cut off; nothing is rewritten.

        Raises ArtifactError when it cannot be read or is of version 1.
        """
        scan = open_scan(path, partial=True)
        if scan.version != VERSION:
            raise ArtifactError(
                f"{path} is .mscan version {scan.version}: only {VERSION} can be extended"
            )
        self = cls.__new__(cls)
        self._begin(Path(path), scan.modules, scan.block)
        self._heads, self._tokens = scan.heads, len(scan)
        self._file = self._path.open("r+b")
        self._file.truncate(scan.end)
        self._file.seek(scan.end)
        return self

    def append(
        self, a: dict[str, Tensor], g: dict[str, Tensor], tokens: list[str], source: str = ""
    ) -> None:
        """Add one chunk: block norms a [T, in/64] and g [T, out/64] per module name, of the T ≥ 1
        tokens whose texts are given, from the text set ``source``.

        Stored as float16 with one power-of-two scale per module, side and chunk: the error is at
        most 2⁻¹¹ of a value, down to 2⁻²⁸ of the largest. Raises ValueError on other modules or
        shapes, NumericalError naming the module on values that are not finite.
        """
        names = [m.name for m in self._modules]
        if not tokens or sorted(a) != sorted(names) or sorted(g) != sorted(names):
            raise ValueError(
                f"{len(tokens)} tokens; a and g must name the scan's {len(names)} modules"
            )
        values = np.zeros((len(tokens), self._columns[-1].stop), "<f2")
        scales = np.ones(len(self._columns), "<f4")
        sides = [(name, *side) for name in names for side in ((a, "activation"), (g, "gradient"))]
        for column, (name, norms, what) in enumerate(sides):
            own, where = _array(norms[name]), self._columns[column]
            if own.shape != (len(tokens), where.stop - where.start):
                raise ValueError(
                    f"{name}: {what} norms {own.shape} for {len(tokens)} tokens, "
                    f"{where.stop - where.start} blocks"
                )
            if not np.isfinite(own).all():
                raise NumericalError(
                    f"the {what} of {name} is not finite: look at the model's weights"
                )
            scales[column] = _scale(own)
            values[:, where] = own / scales[column]
        text = canonical_json({"source": source, "tokens": tokens}).encode()
        filling = bytes(aligned(FRAME.size + len(text)) - FRAME.size - len(text))
        meta = text + filling + _padded(scales.tobytes())
        body = _padded(values.tobytes())
        head = _frame(
            CHUNK, len(self._heads), len(tokens), len(text), zlib.crc32(meta), zlib.crc32(body)
        )
        self._write(head + meta + body)
        self._heads.append(head)
        self._tokens += len(tokens)

    def __enter__(self) -> ScanWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                chunks = zlib.crc32(b"".join(self._heads))
                self._write(_frame(END, len(self._heads), self._tokens, 0, 0, chunks))
        finally:
            self._file.close()

    def _begin(self, path: Path, modules: list[Module], block: int) -> None:
        self._path, self._modules, self._block = path, modules, block
        self._columns = column_slices(modules, block)
        self._heads: list[bytes] = []
        self._tokens = 0

    def _write(self, content: bytes) -> None:
        with whole_or_nothing(self._path):
            self._file.write(_padded(content))
            self._file.flush()
            os.fsync(self._file.fileno())


class MscanFile(Stored):
    """A scan in the catalog. Saves a function ``write(path)``, or the path of a written scan, which
    is linked in; loads a ``Scan`` whose every checksum was compared."""

    def save(self, scan: Callable[[Path], None] | Path) -> None:
        self.filepath.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.filepath.with_name(f".{self.filepath.name}.tmp-{os.getpid()}")
        with whole_or_nothing(self.filepath):
            try:
                temporary.unlink(missing_ok=True)
                scan(temporary) if callable(scan) else _link(Path(scan), temporary)
                open_scan(temporary).verify()
                sync(temporary)
                os.replace(temporary, self.filepath)
                sync(self.filepath.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def load(self) -> Scan:
        scan = open_scan(self.filepath)
        scan.verify()
        return scan

    def _exists(self) -> bool:
        return self.digest() is not None

    def digest(self) -> str | None:
        try:
            open_scan(self.filepath).verify()
        except ArtifactError:
            return None
        return file_digest(self.filepath)


def _array(norms: Tensor | np.ndarray) -> np.ndarray:
    return torch.as_tensor(norms).detach().float().cpu().numpy()


def _scale(norms: np.ndarray) -> np.float32:
    """The power of two that brings the largest value into [2¹⁴, 2¹⁵), near float16's top."""
    exponent = np.frexp(norms.max(initial=0.0))[1]
    return np.float32(2.0 ** max(int(exponent) - 15, -126))


def _frame(kind: bytes, index: int, tokens: int, text_size: int, meta_crc: int, crc: int) -> bytes:
    head = FRAME.pack(kind, index, tokens, text_size, meta_crc, crc, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "little")


def _padded(content: bytes) -> bytes:
    return content + bytes(aligned(len(content)) - len(content))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
