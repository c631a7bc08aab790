"""llama.cpp's model, context and decoding, behind typed errors. Its log goes to standard error.

Some broken files make llama.cpp abort the whole process: import this in a child process alone (see
``child``).
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import llama_cpp.llama_cpp as api
import numpy as np

from birdbone.errors import ExportError

BATCH = 512
KV_TYPES = {"f32": 0, "f16": 1}
DEBUG = 1

repack = True
"""Whether llama.cpp may repack weights for this CPU: faster, the same results."""
log: deque[str] = deque(maxlen=20_000)


@api.llama_log_callback
def _keep(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    if level != DEBUG:
        log.append(text.decode("utf-8", "replace"))
        os.write(2, text)


api.llama_log_set(_keep, ctypes.c_void_p(0))
api.llama_backend_init()


@dataclass(frozen=True)
class Session:
    """A loaded model with a KV cache. vocabulary: number of logits per token."""

    path: str
    context: api.llama_context_p
    vocabulary: int

    def decode(self, tokens: Sequence[int], position: int = 0, every: bool = True) -> np.ndarray:
        """Feed tokens from ``position`` on (0 starts afresh); logits of every token, or of the
        last.
        """
        if position == 0:
            api.llama_memory_clear(api.llama_get_memory(self.context), True)
        parts = [tokens[start : start + BATCH] for start in range(0, len(tokens), BATCH)]
        batches = []
        for part in parts:
            if every or part is parts[-1]:
                batches.append(self._batch(part, position, every))
            else:
                self._batch(part, position, every)
            position += len(part)
        return np.concatenate(batches)

    def _batch(self, tokens: Sequence[int], position: int, every: bool) -> np.ndarray:
        batch = api.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i] = int(token), position + i
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = every or i == len(tokens) - 1
            if api.llama_decode(self.context, batch):
                raise ExportError(f"llama.cpp fails to run {self.path}")
        finally:
            api.llama_batch_free(batch)
        rows = len(tokens) if every else 1
        return np.ctypeslib.as_array(api.llama_get_logits(self.context), (rows, self.vocabulary)).copy()


@contextmanager
def loaded(
    path: str, no_alloc: bool = False, overrides: Mapping[str, int] | None = None
) -> Iterator[api.llama_model_p]:
    """A model that llama.cpp loaded, freed at the end. no_alloc: all but the tensors' data.

    overrides: whole-number keys of the file that shall have another value.
    """
    params = api.llama_model_default_params()
    params.use_extra_bufts = repack
    params.n_gpu_layers = 0
    if no_alloc:
        params.no_alloc, params.load_mode = True, api.LLAMA_LOAD_MODE_NONE
    params.kv_overrides = _overrides(overrides or {})
    model = api.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ExportError(f"llama.cpp does not load {path}")
    try:
        yield model
    finally:
        api.llama_model_free(model)


@contextmanager
def session(
    path: str, length: int, kv: str, threads: int | None, overrides: Mapping[str, int] | None = None
) -> Iterator[Session]:
    """A session for sequences of up to ``length`` tokens. kv: precision of the KV cache; overrides:
    see ``loaded``.
    """
    params = api.llama_context_default_params()
    params.n_ctx = -(-length // 256) * 256
    params.n_batch = params.n_ubatch = params.n_outputs_max = BATCH
    params.n_threads = params.n_threads_batch = thread_count(threads)
    params.type_k = params.type_v = KV_TYPES[kv]
    params.swa_full = True
    if kv == "f32":
        params.flash_attn_type = 0
    with loaded(path, overrides=overrides) as model:
        context = api.llama_init_from_model(model, params)
        if not context:
            raise ExportError(f"llama.cpp makes no context for {path}")
        try:
            yield Session(path, context, api.llama_vocab_n_tokens(api.llama_model_get_vocab(model)))
        finally:
            api.llama_free(context)


def thread_count(threads: int | None) -> int:
    """The threads asked for, or OMP_NUM_THREADS, or one per core that this process may use."""
    return threads or int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0))


def _overrides(values: Mapping[str, int]) -> ctypes.Array:
    """llama.cpp's list of overridden keys, closed by an empty entry."""
    entries = (api.llama_model_kv_override * (len(values) + 1))()
    for entry, (key, value) in zip(entries, values.items(), strict=False):
        entry.key, entry.tag, entry.value.val_i64 = key.encode(), api.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return entries
