"""llama.cpp's model, context and decoding, silent and behind typed errors.

Some broken files make llama.cpp abort the whole process, so each new file is first loaded in a
child process (``python -m birdbone.gguf.runtime FILE repack``). The child also finds out whether
llama.cpp may repack weights for this CPU: on some virtual machines the CPU claims AMX tiles, the
build uses them, and the first batch ends in an illegal instruction.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np

from birdbone.errors import ExportError
from birdbone.gguf.header import read_gguf_header

BATCH = 512
TRIED = 64
KV_TYPES = {"f32": 0, "f16": 1}
LINES_SHOWN = 6

log: deque[str] = deque(maxlen=20_000)


@api.llama_log_callback
def _keep(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    log.append(text.decode("utf-8", "replace"))


api.llama_log_set(_keep, ctypes.c_void_p(0))
api.llama_backend_init()


@dataclass(frozen=True)
class Session:
    """A loaded model with a KV cache. vocabulary: number of logits per token."""

    path: Path
    context: api.llama_context_p
    vocabulary: int

    def decode(self, tokens: Sequence[int], position: int = 0, every: bool = True) -> np.ndarray:
        """Feed tokens from ``position`` on (0 starts afresh); logits of every token, or of the last."""
        if position == 0:
            api.llama_memory_clear(api.llama_get_memory(self.context), True)
        parts = [tokens[start : start + BATCH] for start in range(0, len(tokens), BATCH)]
        found = []
        for part in parts:
            if every or part is parts[-1]:
                found.append(self._batch(part, position, every))
            else:
                self._batch(part, position, every)
            position += len(part)
        return np.concatenate(found)

    def _batch(self, tokens: Sequence[int], position: int, every: bool) -> np.ndarray:
        batch = api.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i] = int(token), position + i
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = every or i == len(tokens) - 1
            if api.llama_decode(self.context, batch):
                raise ExportError(f"llama.cpp fails to run {self.path}:\n{last_lines()}")
        finally:
            api.llama_batch_free(batch)
        rows = len(tokens) if every else 1
        return np.ctypeslib.as_array(api.llama_get_logits(self.context), (rows, self.vocabulary)).copy()


def ensure_loadable(path: Path) -> bool:
    """Load the file and run a few tokens in a child process, once per file.

    Returns whether weights may be repacked for this CPU (faster, the same results).
    Raises ArtifactError for a damaged file, ExportError with llama.cpp's last log lines for one
    that it refuses or crashes on.
    """
    read_gguf_header(path)
    found = Path(path).stat()
    return _try_in_child(str(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@contextmanager
def loaded(
    path: Path, vocab_only: bool = False, repack: bool | None = None, overrides: Mapping[str, int] | None = None
) -> Iterator[api.llama_model_p]:
    """A model that llama.cpp loaded, freed at the end. repack: as ``ensure_loadable`` finds it.

    overrides: whole-number keys of the file that shall have another value.
    """
    params = api.llama_model_default_params()
    params.use_extra_bufts = ensure_loadable(path) if repack is None else repack
    params.vocab_only, params.n_gpu_layers = vocab_only, 0
    params.kv_overrides = _overrides(overrides or {})
    log.clear()
    model = api.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ExportError(f"llama.cpp does not load {path}:\n{last_lines()}")
    try:
        yield model
    finally:
        api.llama_model_free(model)


@contextmanager
def session(
    path: Path,
    length: int,
    kv: str = "f32",
    threads: int | None = None,
    repack: bool | None = None,
    overrides: Mapping[str, int] | None = None,
) -> Iterator[Session]:
    """A session for sequences of up to ``length`` tokens. kv: precision of the KV cache; overrides: see ``loaded``."""
    params = api.llama_context_default_params()
    params.n_ctx = -(-length // 256) * 256
    params.n_batch = params.n_ubatch = params.n_outputs_max = BATCH
    params.n_threads = params.n_threads_batch = thread_count(threads)
    params.type_k = params.type_v = KV_TYPES[kv]
    params.swa_full = True
    if kv == "f32":
        params.flash_attn_type = 0
    with loaded(path, repack=repack, overrides=overrides) as model:
        context = api.llama_init_from_model(model, params)
        if not context:
            raise ExportError(f"llama.cpp makes no context for {path}:\n{last_lines()}")
        try:
            yield Session(path, context, api.llama_vocab_n_tokens(api.llama_model_get_vocab(model)))
        finally:
            api.llama_free(context)


def thread_count(threads: int | None) -> int:
    """The threads asked for, or OMP_NUM_THREADS, or one per core that this process may use."""
    return threads or int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0))


def _overrides(values: Mapping[str, int]) -> ctypes.Array:
    """llama.cpp's list of overridden keys, closed by an empty entry."""
    found = (api.llama_model_kv_override * (len(values) + 1))()
    for entry, (key, value) in zip(found, values.items(), strict=False):
        entry.key, entry.tag, entry.value.val_i64 = key.encode(), api.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return found


def last_lines(text: str | None = None) -> str:
    """The last lines of llama.cpp's log, or of a child's standard error."""
    lines = ("".join(log) if text is None else text).splitlines()
    return "\n".join([line for line in lines if line.strip(" .")][-LINES_SHOWN:])


@cache
def _try_in_child(path: str, identity: tuple[int, ...]) -> bool:
    search = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": search, "GGML_NO_BACKTRACE": "1"}
    for repack in ("repack", "plain"):
        command = [sys.executable, "-m", "birdbone.gguf.runtime", path, repack]
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != -signal.SIGILL:
            break
    if done.returncode:
        raise ExportError(f"llama.cpp refuses {path}:\n{last_lines(done.stderr)}")
    return repack == "repack"


if __name__ == "__main__":
    try:
        with session(Path(sys.argv[1]), TRIED, "f16", 1, repack=sys.argv[2] == "repack") as tried:
            tried.decode([0] * TRIED)
    except ExportError as error:
        sys.exit(str(error))
