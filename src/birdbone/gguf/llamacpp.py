"""llama.cpp as referee: what a stock runtime computes from a GGUF file, each call in a process of
its own.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from birdbone.errors import ExportError
from birdbone.gguf.child import ask
from birdbone.gguf.header import read_gguf_header, tensor_types
from birdbone.progress import track

FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q3_K": 11,
    "Q3_K_M": 12,
    "Q4_K_M": 15,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
}
"""What a file is called whose weights are mostly of a type: ``LLAMA_FTYPE_MOSTLY_...`` in llama.h.
Every type of ``GRIDS`` is here.
"""


def context_length(path: Path) -> int:
    """Positions at which the file is the model: beyond them llama.cpp computes something else, or
    aborts.
    """
    metadata = read_gguf_header(path).metadata
    return int(metadata[f"{metadata['general.architecture']}.context_length"])


def logits(
    path: Path,
    tokens: Sequence[int],
    kv: str = "f32",
    threads: int | None = None,
    overrides: Mapping[str, int] | None = None,
) -> np.ndarray:
    """Logits after every token: float32 [len(tokens), vocabulary]. kv: precision of the KV cache.

    overrides: keys of the file that shall have another value.
    """
    (rows,) = logits_of(path, [tokens], kv, threads, overrides)
    return rows


def logits_of(
    path: Path,
    windows: Iterable[Sequence[int]],
    kv: str = "f32",
    threads: int | None = None,
    overrides: Mapping[str, int] | None = None,
) -> Iterator[np.ndarray]:
    """``logits`` of each window, one after the other; windows are independent."""
    yield from ask(
        "logits",
        path,
        windows=_plain(windows),
        kv=kv,
        threads=threads,
        overrides=dict(overrides or {}),
    )


def perplexity(
    path: Path, windows: Iterable[Sequence[int]], kv: str = "f32", threads: int | None = None
) -> list[tuple[float, int]]:
    """Per window: summed negative log-likelihood (nats) and number of scored tokens.

    Every token after a window's first is scored; windows are independent.
    """
    plain_windows = _plain(windows)
    losses = ask("perplexity", path, windows=plain_windows, kv=kv, threads=threads)
    return [
        tuple(one)
        for one in track(losses, "llama.cpp perplexity", len(plain_windows), unit="window")
    ]


def speed(path: Path, threads: int | None = None, **settings: int) -> dict[str, float]:
    """Median tokens per second of one file, as ``speeds`` measures them."""
    return speeds({path.name: path}, threads, **settings)[path.name]


def speeds(
    files: Mapping[str, Path],
    threads: int | None = None,
    prompt: int = 128,
    generated: int = 32,
    repeats: int = 3,
    overrides: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, dict[str, float]]:
    """Per file, median tokens per second of ``decode`` (one by one) and ``prompt`` (one batch), f16
    KV cache.

    The files take turns, so that a machine that is slower for a minute is so for all of them; the
    first words of each turn are not counted. llama.cpp's threads spin: measure on an idle machine.
    Both lengths are cut to the shortest context among the files. overrides: as for ``logits``, by
    name.
    """
    room = min(map(context_length, files.values()))
    generated = min(generated, room // 2)
    turns = ask(
        "speeds",
        *files.values(),
        threads=threads,
        prompt=min(prompt, room - generated),
        generated=generated,
        repeats=repeats,
        overrides=[dict((overrides or {}).get(name, {})) for name in files],
    )
    speeds_by_file = zip(*track(turns, "llama.cpp speed", repeats, unit="turn"), strict=True)
    return {
        name: dict(
            zip(("decode", "prompt"), map(statistics.median, zip(*turns, strict=True)), strict=True)
        )
        for name, turns in zip(files, speeds_by_file, strict=True)
    }


def tokenize(path: Path, texts: Sequence[str], special: bool = False) -> list[list[int]]:
    """llama.cpp's token ids of each text. special: add what the file says belongs around a text.

    Raises ExportError too where llama.cpp has no place for one of the file's tensors; it reads
    none.
    """
    return [*ask("tokenize", path, texts=list(texts), special=special)]


def end_tokens(path: Path) -> set[int]:
    """The tokens that end a text, as llama.cpp reads the file: those it names, and some known by
    their text.
    """
    return {*ask("end_tokens", path)}


def quantize(
    source: Path, target: Path, kind: str, threads: int | None = None
) -> dict[str, tuple[str, str]]:
    """Quantize an f16 or f32 file with llama.cpp's own recipe (``Q8_0``, ``Q4_K_M`` ...).

    Returns the tensors whose type llama.cpp substituted: name -> (asked, written).
    """
    if kind not in FILE_TYPES:
        raise ExportError(f"unknown GGUF file type {kind!r}; known: {', '.join(FILE_TYPES)}")
    partial = target.with_name(f".{target.name}.partial")
    try:
        substituted = [
            *ask("quantize", source, target=str(partial), ftype=FILE_TYPES[kind], threads=threads)
        ]
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    written = tensor_types(target)
    return {name: (kind_asked.upper(), written[name]) for name, kind_asked in substituted}


def _plain(windows: Iterable[Sequence[int]]) -> list[list[Any]]:
    return [[int(token) for token in window] for window in windows]
