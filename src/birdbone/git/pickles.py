"""Whether bytes are, or hold, a Python pickle, which runs code when loaded. None is loaded here."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from pathlib import PurePosixPath

SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib"}
DEPTH = 2
"""Compressions inside one another that are looked through."""

SCAN = 1 << 16
"""Bytes read of a compressed stream."""

NUMPY = b"\x93NUMPY"
WRITTEN = {"PUT", "GLOBAL", "INST", "REDUCE", "APPEND", "SETITEM", "TUPLE", "LIST", "DICT"}
"""Opcodes of a pickle of protocol 0, which is plain text; a text that just parses has none."""


def pickle_reason(path: str, content: bytes) -> str | None:
    """Why a file counts as a pickle, by its name or its first bytes; None where it does not."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in SUFFIXES:
        return f"{suffix} files are pickles or may be"
    return _inside(content, DEPTH)


def _inside(content: bytes, depth: int) -> str | None:
    if _is_pickle(content):
        return "it is a pickle"
    if content.startswith(NUMPY) and b"'|O'" in content[:256]:
        return "it is a NumPy array of pickled objects"
    if content.startswith(b"PK\x03\x04"):
        return _zipped(content, depth)
    if depth and (start := _unpacked(content)) and (reason := _inside(start, depth - 1)):
        return f"{reason}, compressed"
    return None


def _is_pickle(content: bytes) -> bool:
    """By the header of protocols 2 to 5. Protocols 0 and 1 have none: all of it must parse."""
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not content.endswith(b"."):
        return False
    stream = io.BytesIO(content)
    try:
        opcodes = {code.name for code, _, _ in pickletools.genops(stream)}
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError):
        return False
    return stream.tell() == len(content) and bool(opcodes & WRITTEN)


def _zipped(content: bytes, depth: int) -> str | None:
    """torch.save and numpy.savez write zip archives."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if PurePosixPath(member.filename).suffix in (".pkl", ".pickle"):
                    return f"it holds the pickle {member.filename}"
                with archive.open(member) as file:
                    reason = _inside(file.read(SCAN), depth - 1) if depth else None
                if reason:
                    return f"{reason}, in {member.filename}"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error):
        return "it is an archive that cannot be looked into"
    return None


def _unpacked(content: bytes) -> bytes:
    """The beginning of a compressed stream, as joblib writes; empty where it is none or damaged."""
    openers = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ": lzma.open,
        b"\x5d\x00\x00": lzma.open,
    }
    for magic, opener in openers.items():
        if content.startswith(magic):
            try:
                with opener(io.BytesIO(content)) as file:
                    return file.read(SCAN)
            except (OSError, EOFError, lzma.LZMAError, zlib.error):
                return b""
    if content[:1] == b"\x78":
        try:
            return zlib.decompressobj().decompress(content, SCAN)
        except zlib.error:
            return b""
    return b""
