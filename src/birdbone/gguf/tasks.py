"""What llama.cpp is asked for, done in its own process (``child``): each task yields its results
one by one.

``llamacpp`` says what they are.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence

import llama_cpp.llama_cpp as api
import numpy as np

from birdbone.errors import ExportError
from birdbone.gguf.runtime import Session, loaded, log, session, thread_count

FALLBACK = re.compile(r"warning: (\S+)\s+- ncols .*?required for type\s+(\w+)\)")
ROWS = 64
WARM_UP = 4


def logits(
    path: str, windows: Sequence[Sequence[int]], kv: str, threads: int | None, overrides: Mapping[str, int]
) -> Iterator[np.ndarray]:
    """[tokens, vocabulary] of each window."""
    with session(path, max(map(len, windows)), kv, threads, overrides) as runtime:
        for window in windows:
            yield runtime.decode(window)


def perplexity(
    path: str, windows: Sequence[Sequence[int]], kv: str, threads: int | None
) -> Iterator[tuple[float, int]]:
    """Of each window, its summed loss and the number of scored tokens."""
    for window, rows in zip(windows, logits(path, windows, kv, threads, {}), strict=True):
        scored = len(rows) - 1
        parts = (_loss(rows[i : min(i + ROWS, scored)], window[1 + i : 1 + i + ROWS]) for i in range(0, scored, ROWS))
        yield sum(parts), scored


def speeds(
    *paths: str, threads: int | None, prompt: int, generated: int, repeats: int, overrides: list[Mapping[str, int]]
) -> Iterator[list[tuple[float, float]]]:
    """Of each turn, the files' tokens per second: decode and prompt."""
    for _ in range(repeats):
        turn = []
        for path, own_overrides in zip(paths, overrides, strict=True):
            with session(path, prompt + generated, "f16", threads, own_overrides) as runtime:
                _timed(runtime, prompt, min(WARM_UP, generated))
                turn.append(_timed(runtime, prompt, generated))
        yield turn


def tokenize(path: str, texts: Sequence[str], special: bool) -> Iterator[list[int]]:
    """The ids of each text. Every tensor has to have its place, though none is read."""
    with loaded(path, no_alloc=True) as model:
        vocab = api.llama_model_get_vocab(model)
        for text in texts:
            yield _ids(vocab, text.encode(), special)


def end_tokens(path: str) -> Iterator[int]:
    """Each token that ends a text."""
    with loaded(path, no_alloc=True) as model:
        vocab = api.llama_model_get_vocab(model)
        yield from (i for i in range(api.llama_vocab_n_tokens(vocab)) if api.llama_vocab_is_eog(vocab, i))


def quantize(source: str, target: str, ftype: int, threads: int | None) -> Iterator[tuple[str, str]]:
    """Write ``target``; each tensor that could not have its type, and that type."""
    params = api.llama_model_quantize_default_params()
    params.ftype, params.nthread = ftype, thread_count(threads)
    if api.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)):
        raise ExportError(f"llama.cpp cannot quantize {source}")
    yield from FALLBACK.findall("".join(log))


TASKS = {task.__name__: task for task in (logits, perplexity, speeds, tokenize, end_tokens, quantize)}


def _timed(runtime: Session, prompt: int, generated: int) -> tuple[float, float]:
    """Tokens per second of ``generated`` tokens one by one, and of the ``prompt`` before them."""
    start = time.perf_counter()
    runtime.decode([i % runtime.vocabulary for i in range(prompt)], every=False)
    middle = time.perf_counter()
    for position in range(prompt, prompt + generated):
        runtime.decode([position % runtime.vocabulary], position, every=False)
    return generated / (time.perf_counter() - middle), prompt / (middle - start)


def _loss(logits: np.ndarray, right: Sequence[int]) -> float:
    logits = logits.astype(np.float64)
    highest = logits.max(1)
    total = np.log(np.exp(logits - highest[:, None]).sum(1)) + highest
    return float((total - logits[np.arange(len(logits)), np.asarray(right)]).sum())


def _ids(vocab: api.llama_vocab_p, text: bytes, special: bool) -> list[int]:
    room = len(text) + 8
    ids = (api.llama_token * room)()
    return list(ids[: api.llama_tokenize(vocab, text, len(text), ids, room, special, False)])
