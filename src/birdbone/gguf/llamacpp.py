"""llama.cpp as referee: what a stock runtime computes from a GGUF file.

Some broken files make llama.cpp abort the whole process, so each new file is first loaded in a
child process (``python -m birdbone.gguf.llamacpp FILE repack``). The child also finds out whether
llama.cpp may repack weights for this CPU: on some virtual machines the CPU claims AMX tiles, the
build uses them, and the first batch ends in an illegal instruction.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np

from birdbone.errors import ExportError
from birdbone.gguf.header import read_gguf_header, tensor_types
from birdbone.progress import track

BATCH = 512
TRIED = 16
KV_TYPES = {"f32": 0, "f16": 1}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q5_0": 8, "Q4_K_M": 15, "IQ4_NL": 25}
FALLBACK = re.compile(r"warning: (\S+)\s+- ncols .*?required for type\s+(\w+)\)")
LINES_SHOWN = 6

_log: deque[str] = deque(maxlen=20_000)


@api.llama_log_callback
def _keep(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    _log.append(text.decode("utf-8", "replace"))


api.llama_log_set(_keep, ctypes.c_void_p(0))
api.llama_backend_init()


def ensure_loadable(path: Path) -> bool:
    """Load the file and run a few tokens in a child process, once per file.

    Returns whether weights may be repacked for this CPU (faster, the same results).
    Raises ArtifactError for a damaged file, ExportError with llama.cpp's last log lines for one
    that it refuses or crashes on.
    """
    read_gguf_header(path)
    found = Path(path).stat()
    return _try_in_child(str(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


def logits(path: Path, tokens: Sequence[int], kv: str = "f32", threads: int | None = None) -> np.ndarray:
    """Logits after every token: float32 [len(tokens), vocabulary]. kv: precision of the KV cache."""
    with _context(path, len(tokens), kv, threads) as (context, vocabulary):
        return _decode(path, context, tokens, vocabulary)


def perplexity(
    path: Path, windows: Sequence[Sequence[int]], kv: str = "f32", threads: int | None = None
) -> list[tuple[float, int]]:
    """Per window: summed negative log-likelihood (nats) and number of scored tokens.

    Every token after a window's first is scored; windows are independent.
    """
    sums = []
    with _context(path, max(map(len, windows)), kv, threads) as (context, vocabulary):
        for window in track(windows, "llama.cpp perplexity", unit="window"):
            found = _decode(path, context, window, vocabulary)[:-1].astype(np.float64)
            highest = found.max(1)
            total = np.log(np.exp(found - highest[:, None]).sum(1)) + highest
            right = found[np.arange(len(found)), np.asarray(window[1:])]
            sums.append((float((total - right).sum()), len(found)))
    return sums


def speed(path: Path, threads: int | None = None, prompt: int = 128, generated: int = 32,
          repeats: int = 3) -> dict[str, float]:
    """Median tokens per second of ``decode`` (one by one) and ``prompt`` (one batch), f16 KV cache."""
    figures: dict[str, list[float]] = {"decode": [], "prompt": []}
    with _context(path, prompt + generated, "f16", threads) as (context, vocabulary):
        tokens = [i % vocabulary for i in range(prompt)]
        for _ in range(repeats + 1):
            start = time.perf_counter()
            _decode(path, context, tokens, vocabulary, every=False)
            middle = time.perf_counter()
            for position in range(prompt, prompt + generated):
                _decode(path, context, [position % vocabulary], vocabulary, position, every=False)
            figures["prompt"].append(prompt / (middle - start))
            figures["decode"].append(generated / (time.perf_counter() - middle))
    return {name: statistics.median(values[1:]) for name, values in figures.items()}


def tokenize(path: Path, texts: Sequence[str], special: bool = False) -> list[list[int]]:
    """llama.cpp's token ids of each text. special: add what the file says belongs around a text."""
    with _model(path, vocab_only=True) as model:
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
    params.ftype, params.nthread = FILE_TYPES[kind], _threads(threads)
    partial = target.with_name(f".{target.name}.partial")
    _log.clear()
    try:
        if api.llama_model_quantize(os.fsencode(source), os.fsencode(partial), ctypes.byref(params)):
            raise ExportError(f"llama.cpp cannot quantize {source} to {kind}:\n{_last(''.join(_log))}")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    written = tensor_types(target)
    return {name: (asked.upper(), written[name]) for name, asked in FALLBACK.findall("".join(_log))}


@contextmanager
def _model(path: Path, vocab_only: bool = False) -> Iterator[api.llama_model_p]:
    with _loaded(path, ensure_loadable(path), vocab_only) as model:
        yield model


@contextmanager
def _loaded(path: Path, repack: bool, vocab_only: bool = False) -> Iterator[api.llama_model_p]:
    params = api.llama_model_default_params()
    params.vocab_only, params.use_extra_bufts, params.n_gpu_layers = vocab_only, repack, 0
    _log.clear()
    model = api.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ExportError(f"llama.cpp does not load {path}:\n{_last(''.join(_log))}")
    try:
        yield model
    finally:
        api.llama_model_free(model)


@contextmanager
def _context(path: Path, length: int, kv: str, threads: int | None) -> Iterator[tuple[api.llama_context_p, int]]:
    with _model(path) as model, _started(path, model, length, kv, threads) as context:
        yield context, api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))


@contextmanager
def _started(path: Path, model: api.llama_model_p, length: int, kv: str,
             threads: int | None) -> Iterator[api.llama_context_p]:
    params = api.llama_context_default_params()
    params.n_ctx = -(-length // 256) * 256
    params.n_batch = params.n_ubatch = params.n_outputs_max = BATCH
    params.n_threads = params.n_threads_batch = _threads(threads)
    params.type_k = params.type_v = KV_TYPES[kv]
    params.swa_full = True
    if kv == "f32":
        params.flash_attn_type = 0
    context = api.llama_init_from_model(model, params)
    if not context:
        raise ExportError(f"llama.cpp makes no context for {path}:\n{_last(''.join(_log))}")
    try:
        yield context
    finally:
        api.llama_free(context)


def _decode(path: Path, context: api.llama_context_p, tokens: Sequence[int], vocabulary: int,
            position: int = 0, every: bool = True) -> np.ndarray:
    """Feed tokens from ``position`` on; 0 starts afresh. Logits of every token, or of the last."""
    if position == 0:
        api.llama_memory_clear(api.llama_get_memory(context), True)
    found = []
    for start in range(0, len(tokens), BATCH):
        part = tokens[start:start + BATCH]
        batch = api.llama_batch_init(len(part), 0, 1)
        try:
            batch.n_tokens = len(part)
            for i, token in enumerate(part):
                batch.token[i], batch.pos[i] = int(token), position + start + i
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = every or start + i == len(tokens) - 1
            if api.llama_decode(context, batch):
                raise ExportError(f"llama.cpp fails to run {path}:\n{_last(''.join(_log))}")
        finally:
            api.llama_batch_free(batch)
        rows = len(part) if every else int(start + len(part) == len(tokens))
        if rows:
            found.append(np.ctypeslib.as_array(api.llama_get_logits(context), (rows, vocabulary)).copy())
    return np.concatenate(found)


def _ids(vocab: api.llama_vocab_p, text: bytes, special: bool) -> list[int]:
    room = len(text) + 8
    ids = (api.llama_token * room)()
    count = api.llama_tokenize(vocab, text, len(text), ids, room, special, False)
    return list(ids[:count])


def _threads(threads: int | None) -> int:
    return threads or len(os.sched_getaffinity(0))


def _last(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip(" .")]
    return "\n".join(lines[-LINES_SHOWN:])


@cache
def _try_in_child(path: str, identity: tuple[int, ...]) -> bool:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GGML_NO_BACKTRACE": "1"}
    for repack in ("repack", "plain"):
        done = subprocess.run([sys.executable, "-m", "birdbone.gguf.llamacpp", path, repack], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != -signal.SIGILL:
            break
    if done.returncode:
        raise ExportError(f"llama.cpp refuses {path}:\n{_last(done.stderr)}")
    return repack == "repack"


def _try(path: Path, repack: bool) -> None:
    with _loaded(path, repack) as model, _started(path, model, TRIED, "f16", 1) as context:
        vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        _decode(path, context, [0] * TRIED, vocabulary, every=False)


if __name__ == "__main__":
    try:
        _try(Path(sys.argv[1]), sys.argv[2] == "repack")
    except ExportError as error:
        sys.exit(str(error))
