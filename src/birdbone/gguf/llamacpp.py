"""llama.cpp as referee: what a stock runtime computes from a GGUF file."""

from __future__ import annotations

import ctypes
import os
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np

from birdbone.errors import ExportError
from birdbone.gguf.header import tensor_types
from birdbone.gguf.runtime import Session, ensure_loadable, last_lines, loaded, log, session, thread_count
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
FALLBACK = re.compile(r"warning: (\S+)\s+- ncols .*?required for type\s+(\w+)\)")
ROWS = 64
WARM_UP = 4


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
    with session(path, len(tokens), kv, threads, overrides=overrides) as runtime:
        return runtime.decode(tokens)


def perplexity(
    path: Path, windows: Sequence[Sequence[int]], kv: str = "f32", threads: int | None = None
) -> list[tuple[float, int]]:
    """Per window: summed negative log-likelihood (nats) and number of scored tokens.

    Every token after a window's first is scored; windows are independent.
    """
    sums = []
    with session(path, max(map(len, windows)), kv, threads) as runtime:
        for window in track(windows, "llama.cpp perplexity", unit="window"):
            found = runtime.decode(window)[:-1]
            parts = (_loss(found[i : i + ROWS], window[1 + i : 1 + i + ROWS]) for i in range(0, len(found), ROWS))
            sums.append((sum(parts), len(found)))
    return sums


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
    """Per file, median tokens per second of ``decode`` (one by one) and ``prompt`` (one batch), f16 KV cache.

    The files take turns, so that a machine that is slower for a minute is so for all of them; the first words of
    each turn are not counted. llama.cpp's threads spin: measure on an idle machine. overrides: as for ``logits``, by
    name.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in files}
    for _ in track(range(repeats), "llama.cpp speed", unit="turn"):
        for name, path in files.items():
            asked = (overrides or {}).get(name)
            with session(path, prompt + generated, "f16", threads, overrides=asked) as runtime:
                _timed(runtime, prompt, min(WARM_UP, generated))
                found[name].append(_timed(runtime, prompt, generated))
    return {
        name: dict(zip(("decode", "prompt"), map(statistics.median, zip(*turns, strict=True)), strict=True))
        for name, turns in found.items()
    }


def _timed(runtime: Session, prompt: int, generated: int) -> tuple[float, float]:
    """Tokens per second of ``generated`` tokens one by one, and of the ``prompt`` before them."""
    start = time.perf_counter()
    runtime.decode([i % runtime.vocabulary for i in range(prompt)], every=False)
    middle = time.perf_counter()
    for position in range(prompt, prompt + generated):
        runtime.decode([position % runtime.vocabulary], position, every=False)
    return generated / (time.perf_counter() - middle), prompt / (middle - start)


def tokenize(path: Path, texts: Sequence[str], special: bool = False, repack: bool | None = None) -> list[list[int]]:
    """llama.cpp's token ids of each text. special: add what the file says belongs around a text; repack: as for
    ``loaded``, given where the file has no tensors to try.
    """
    with loaded(path, vocab_only=True, repack=repack) as model:
        vocab = api.llama_model_get_vocab(model)
        return [_ids(vocab, text.encode(), special) for text in texts]


def quantize(source: Path, target: Path, kind: str, threads: int | None = None) -> dict[str, tuple[str, str]]:
    """Quantize an f16 or f32 file with llama.cpp's own recipe (``Q8_0``, ``Q4_K_M`` ...).

    Returns the tensors whose type llama.cpp substituted: name -> (asked, written).
    """
    if kind not in FILE_TYPES:
        raise ExportError(f"unknown GGUF file type {kind!r}; known: {', '.join(FILE_TYPES)}")
    ensure_loadable(source)
    params = api.llama_model_quantize_default_params()
    params.ftype, params.nthread = FILE_TYPES[kind], thread_count(threads)
    partial = target.with_name(f".{target.name}.partial")
    log.clear()
    try:
        if api.llama_model_quantize(os.fsencode(source), os.fsencode(partial), ctypes.byref(params)):
            raise ExportError(f"llama.cpp cannot quantize {source} to {kind}:\n{last_lines()}")
        substituted = FALLBACK.findall("".join(log))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    written = tensor_types(target)
    return {name: (asked.upper(), written[name]) for name, asked in substituted}


def _loss(found: np.ndarray, right: Sequence[int]) -> float:
    found = found.astype(np.float64)
    highest = found.max(1)
    total = np.log(np.exp(found - highest[:, None]).sum(1)) + highest
    return float((total - found[np.arange(len(found)), np.asarray(right)]).sum())


def _ids(vocab: api.llama_vocab_p, text: bytes, special: bool) -> list[int]:
    room = len(text) + 8
    ids = (api.llama_token * room)()
    return list(ids[: api.llama_tokenize(vocab, text, len(text), ids, room, special, False)])
