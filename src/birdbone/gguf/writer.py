"""Write a checkpoint as one GGUF file that stock llama.cpp loads.

Even widths keep the family's own architecture; uneven ones become ``deci``, the one stock
architecture with per-layer widths and heads.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from torch import Tensor

from birdbone.algo.grids import GRIDS
from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.keys import shorter_context
from birdbone.gguf.plan import FilePlan
from birdbone.gguf.tokenizer import PROBES, Vocabulary, read_vocabulary
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.generation import OTHER_ENDS

BYTES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}
FACTORS = "rope_freqs.weight"
QUANTIZATION_VERSION = 2
Packed = Mapping[str, tuple[str, Any]]


log = logging.getLogger("birdbone")


class Contents(Protocol):
    """What a file holds: ``FilePlan`` for dense models, ``MixturePlan`` for mixtures."""

    arch: str

    @property
    def vocabulary(self) -> int: ...
    def keys(self) -> dict[str, Any]: ...
    def factors(self) -> Tensor | None: ...
    def names(self) -> dict[str, list[str]]: ...
    def kind(self, name: str, parts: list[str]) -> str: ...
    def dimensions(self, parts: list[str]) -> tuple[int, ...]: ...
    def data(self, parts: list[str], kind: str) -> np.ndarray: ...


def write_gguf(
    path: Path,
    checkpoint: Checkpoint,
    tokenizer_folder: Path,
    *,
    types: Mapping[str, str] | None = None,
    packed: Packed | None = None,
    default_type: str = "f32",
    metadata: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write the checkpoint; returns the type asked of every tensor in the file, by GGUF name.

    types: canonical weight name -> F32, F16 or a grid's name (rounded as llama.cpp would).
    packed: canonical weight name -> (grid's name, its bytes [rows, bytes]), written as given.
    default_type: of every other matrix; vectors are always F32.
    metadata: ``general.*`` keys, such as name, license, description.
    Raises ExportError when llama.cpp has no form for the model or splits text differently.
    """
    plan = FilePlan(checkpoint, dict(types or {}), dict(packed or {}), default_type.upper())
    return write_plan(path, plan, tokenizer_folder, metadata)


def check_form(checkpoint: Checkpoint, tokenizer_folder: Path) -> dict[str, Any]:
    """The model's GGUF keys and its tokenizer's kind. Raises ExportError where ``write_gguf`` will,
    and where llama.cpp has no place for a tensor, by a file whose tensors take no room.

    Says in the log what the file cannot hold: positions past a window that llama.cpp does not know,
    further end tokens.
    """
    plan = FilePlan(checkpoint, {}, {}, "F16")
    vocabulary = read_vocabulary(tokenizer_folder, plan.vocabulary)
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        path = Path(folder) / "form.gguf"
        _write(path, plan, vocabulary, {}, hollow=True)
        _check_tokenizer(path, vocabulary)
        told = len(OTHER_ENDS) + 1
        if len(vocabulary.ends) > told and (
            lost := set(vocabulary.ends) - llamacpp.end_tokens(path)
        ):
            log.warning(
                "the GGUF file will not stop at tokens %s: it has keys for %d end tokens",
                sorted(lost),
                told,
            )
    if said := shorter_context(plan.family.gguf, plan.config):
        log.warning(said)
    return {"architecture": plan.arch, "tokenizer": vocabulary.keys["ggml.pre"], **plan.keys()}


def write_plan(
    path: Path, plan: Contents, tokenizer_folder: Path, metadata: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Write what a plan says, tokenizer and metadata beside it; see ``write_gguf``."""
    path = Path(path)
    vocabulary = read_vocabulary(tokenizer_folder, plan.vocabulary)
    partial = path.with_name(f".{path.name}.partial")
    try:
        asked = _write(partial, plan, vocabulary, metadata or {})
        if not vocabulary.proven:
            _check_tokenizer(partial, vocabulary)
        os.replace(partial, path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return asked


def _write(
    path: Path,
    plan: Contents,
    vocabulary: Vocabulary,
    metadata: Mapping[str, str],
    hollow: bool = False,
) -> dict[str, str]:
    """hollow: zeros that the disk does not hold in place of the tensors."""
    names = plan.names()
    asked = {name: plan.kind(name, parts) for name, parts in names.items()}
    writer = GGUFWriter(path, plan.arch)
    try:
        _add_keys(writer, plan, asked, metadata)
        vocabulary.add_to(writer)
        factors = plan.factors()
        if factors is not None:
            asked[FACTORS] = "F32"
        for name, kind in asked.items():
            shape = factors.shape if name == FACTORS else plan.dimensions(names[name])
            _add_tensor(writer, name, shape, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if hollow:
            size = sum(
                writer.ggml_pad(t.nbytes, writer.data_alignment) for t in writer.tensors[0].values()
            )
            file = writer.fout[0]
            file.truncate(writer.ggml_pad(file.tell(), writer.data_alignment) + size)
            return asked
        for name, kind in asked.items():
            found = factors.numpy() if name == FACTORS else plan.data(names[name], kind)
            writer.write_tensor_data(np.ascontiguousarray(found))
        writer.flush()
        os.fsync(writer.fout[0].fileno())
    finally:
        writer.close()
    return asked


def _add_tensor(writer: GGUFWriter, name: str, shape: tuple[int, ...], kind: str) -> None:
    if kind in BYTES:
        writer.add_tensor_info(name, shape, BYTES[kind], math.prod(shape) * BYTES[kind].itemsize)
        return
    bytes_shape = (*shape[:-1], GRIDS[kind].row_bytes(shape[-1]))
    writer.add_tensor_info(
        name,
        bytes_shape,
        np.dtype(np.uint8),
        math.prod(bytes_shape),
        GGMLQuantizationType(GRIDS[kind].ggml_type),
    )


def _add_keys(
    writer: GGUFWriter, plan: Contents, asked: dict[str, str], metadata: Mapping[str, str]
) -> None:
    sizes: dict[str, int] = {}
    for name, parts in plan.names().items():
        count = math.prod(plan.dimensions(parts))
        sizes[asked[name]] = sizes.get(asked[name], 0) + count
    writer.add_string("general.type", "model")
    for key, value in metadata.items():
        writer.add_string(f"general.{key}", value)
    writer.add_uint32("general.file_type", llamacpp.FILE_TYPES[max(sizes, key=sizes.__getitem__)])
    if GRIDS.keys() & sizes.keys():
        writer.add_uint32("general.quantization_version", QUANTIZATION_VERSION)
    add = {
        str: writer.add_string,
        int: writer.add_uint32,
        float: writer.add_float32,
        list: writer.add_array,
    }
    add[bool] = writer.add_bool
    for key, value in plan.keys().items():
        add[type(value)](f"{plan.arch}.{key}", value)


def _check_tokenizer(path: Path, vocabulary: Vocabulary) -> None:
    found = llamacpp.tokenize(path, PROBES)
    for text, ours, theirs in zip(PROBES, vocabulary.expected(), found, strict=True):
        if ours != theirs:
            raise ExportError(
                f"llama.cpp splits {text!r} into {theirs}, the tokenizer into {ours}: "
                f"this tokenizer has no exact GGUF form ({vocabulary.keys['ggml.pre']})"
            )
