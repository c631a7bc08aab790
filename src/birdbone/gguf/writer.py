"""Write a checkpoint as one GGUF file that stock llama.cpp loads.

Even widths keep the family's own architecture; uneven ones become ``deci``, the one stock
architecture with per-layer widths and heads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from torch import Tensor
from transformers import PretrainedConfig

from birdbone.algo.grids import BLOCK, GRIDS
from birdbone.errors import ExportError
from birdbone.gguf import llamacpp
from birdbone.gguf.families import PAIRED, Family, family_of
from birdbone.gguf.keys import Shape, architecture_name, model_keys, query_factor, rope_factors, shape_of
from birdbone.gguf.tokenizer import PROBES, Vocabulary, read_vocabulary
from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import hf_config

Packed = Mapping[str, tuple[str, Any]]
FLOATS = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}
QUANTIZATION_VERSION = 2


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
    path = Path(path)
    plan = _Plan(checkpoint, dict(types or {}), dict(packed or {}), default_type.upper())
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


@dataclass
class _Plan:
    """What goes into the file."""

    checkpoint: Checkpoint
    types: dict[str, str]
    packed: dict[str, tuple[str, Any]]
    default_type: str
    family: Family = field(init=False)
    architecture: Architecture = field(init=False)
    config: PretrainedConfig = field(init=False)
    shape: Shape = field(init=False)
    arch: str = field(init=False)

    def __post_init__(self) -> None:
        self.family = family_of(self.checkpoint.config)
        self.architecture = architecture_of(self.checkpoint.config)
        self.config = hf_config(self.checkpoint.config)
        self.shape = shape_of(self.checkpoint)
        self.arch = architecture_name(self.family, self.shape, self.architecture.heads(self.checkpoint.config))
        unknown = sorted((self.types.keys() | self.packed.keys()) - self.checkpoint.weights.keys())
        if unknown:
            raise ExportError(f"types or packed name {unknown[0]}, which the model does not have")
        for kind in {self.default_type, *self.types.values(), *(k for k, _ in self.packed.values())}:
            if kind.upper() not in FLOATS and kind.upper() not in GRIDS:
                raise ExportError(f"unknown tensor type {kind!r}; known: {', '.join([*FLOATS, *GRIDS])}")

    @property
    def vocabulary(self) -> int:
        return self.checkpoint.weights[f"{self.architecture.embedding}.weight"].shape[0]

    def names(self) -> dict[str, list[str]]:
        """GGUF name -> the canonical weights that it joins, in the file's order."""
        modules = dict(self.family.modules)
        for layer in range(self.checkpoint.layers):
            modules |= {self.architecture.part(layer, part): f"blk.{layer}.{name}"
                        for part, name in self.family.block.items()}
        names: dict[str, list[str]] = {}
        for module, name in modules.items():
            for suffix in ("weight", "bias"):
                if f"{module}.{suffix}" in self.checkpoint.weights:
                    names.setdefault(f"{name}.{suffix}", []).append(f"{module}.{suffix}")
        lost = sorted(self.checkpoint.weights.keys() - {n for parts in names.values() for n in parts})
        if lost:
            raise ExportError(f"{lost[0]} has no name in llama.cpp's {self.arch}: "
                              f"describe it in src/birdbone/gguf/{self.family.name}.yml")
        return names

    def kind(self, name: str, parts: list[str]) -> str:
        """The ggml type of a tensor."""
        asked = {self._kind(part) for part in parts}
        if len(asked) > 1:
            raise ExportError(f"{name} joins {', '.join(parts)}, which need one type, not {sorted(asked)}")
        if name.removesuffix(".weight") in self.family.float32 and parts[0] not in self.packed:
            return "F32"
        return asked.pop()

    def _kind(self, part: str) -> str:
        if part in self.packed:
            return self.packed[part][0].upper()
        if self.checkpoint.weights[part].ndim == 1:
            return "F32"
        return self.types.get(part, self.default_type).upper()

    def data(self, parts: list[str], kind: str) -> np.ndarray:
        """The bytes or numbers of a tensor, parts joined by rows."""
        return np.concatenate([self._part(part, kind) for part in parts])

    def _part(self, part: str, kind: str) -> np.ndarray:
        weight = self.checkpoint.weights[part]
        if part in self.packed:
            rows = torch.as_tensor(self.packed[part][1], dtype=torch.uint8).reshape(weight.shape[0], -1)
            if rows.shape[1] * BLOCK != weight.shape[1] * GRIDS[kind].block_bytes:
                raise ExportError(f"packed {part} has {rows.shape[1]} bytes per row, not those of "
                                  f"{weight.shape[1]} {kind} weights")
            return self._permuted(part, rows).contiguous().numpy()
        return _encoded(part, self._permuted(part, self._shifted(part, weight.detach().float())), kind)

    def _permuted(self, part: str, rows: Tensor) -> Tensor:
        """Rotary pairs side by side, where this architecture wants them: each head's rows reordered."""
        name = part.rpartition(".")[0]
        turned = ("query", "key")
        if self.arch not in PAIRED or not name.endswith(tuple(self.architecture.attention[w] for w in turned)):
            return rows
        heads = rows.shape[0] // self.shape.head_size
        return rows.reshape(heads, 2, self.shape.head_size // 2, -1).transpose(1, 2).reshape(rows.shape)

    def _shifted(self, part: str, weight: Tensor) -> Tensor:
        if not self.family.norm_shift or not part.endswith("norm.weight"):
            return weight
        factor = query_factor(self.config, self.shape) if part.endswith("q_norm.weight") else 1.0
        return (weight + self.family.norm_shift) * factor


def _encoded(part: str, weight: Tensor, kind: str) -> np.ndarray:
    if kind in GRIDS:
        if weight.shape[1] % BLOCK:
            raise ExportError(f"{part} has rows of {weight.shape[1]}: {kind} needs multiples of {BLOCK}")
        return GRIDS[kind].pack(*GRIDS[kind].reference(weight.contiguous())).numpy()
    array = weight.contiguous().numpy().astype(FLOATS[kind])
    if not np.isfinite(array).all():
        raise ExportError(f"{part} does not fit {kind}: it holds NaN, infinity or values beyond its range")
    return array


def _write(path: Path, plan: _Plan, vocabulary: Vocabulary, metadata: Mapping[str, str]) -> dict[str, str]:
    names = plan.names()
    asked = {name: plan.kind(name, parts) for name, parts in names.items()}
    writer = GGUFWriter(path, plan.arch)
    try:
        _add_keys(writer, plan, asked, metadata)
        vocabulary.add_to(writer)
        factors = rope_factors(plan.config, plan.shape.head_size) if plan.family.rope else None
        if factors is not None:
            asked["rope_freqs.weight"] = "F32"
        for name, kind in asked.items():
            shape = factors.shape if name == "rope_freqs.weight" else _shape(plan, names[name])
            _add_tensor(writer, name, shape, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, kind in asked.items():
            found = factors.numpy() if name == "rope_freqs.weight" else plan.data(names[name], kind)
            writer.write_tensor_data(np.ascontiguousarray(found))
    finally:
        for file in writer.fout or []:
            file.flush()
            os.fsync(file.fileno())
        writer.close()
    return asked


def _shape(plan: _Plan, parts: list[str]) -> tuple[int, ...]:
    shapes = [plan.checkpoint.weights[part].shape for part in parts]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _add_tensor(writer: GGUFWriter, name: str, shape: tuple[int, ...], kind: str) -> None:
    if kind in FLOATS:
        writer.add_tensor_info(name, shape, FLOATS[kind], int(np.prod(shape)) * FLOATS[kind].itemsize)
        return
    bytes_shape = (*shape[:-1], shape[-1] // BLOCK * GRIDS[kind].block_bytes)
    writer.add_tensor_info(name, bytes_shape, np.dtype(np.uint8), int(np.prod(bytes_shape)),
                           GGMLQuantizationType(GRIDS[kind].ggml_type))


def _add_keys(writer: GGUFWriter, plan: _Plan, asked: dict[str, str], metadata: Mapping[str, str]) -> None:
    sizes: dict[str, int] = {}
    for name, parts in plan.names().items():
        sizes[asked[name]] = sizes.get(asked[name], 0) + sum(plan.checkpoint.weights[p].numel() for p in parts)
    writer.add_string("general.type", "model")
    for key, value in metadata.items():
        writer.add_string(f"general.{key}", value)
    writer.add_uint32("general.file_type", llamacpp.FILE_TYPES[max(sizes, key=sizes.__getitem__)])
    if GRIDS.keys() & sizes.keys():
        writer.add_uint32("general.quantization_version", QUANTIZATION_VERSION)
    for key, value in model_keys(plan.arch, plan.family, plan.config, plan.shape, plan.vocabulary).items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}
        add[type(value)](f"{plan.arch}.{key}", value)


def _check_tokenizer(path: Path, vocabulary: Vocabulary) -> None:
    for text, ours, theirs in zip(PROBES, vocabulary.expected(), llamacpp.tokenize(path, PROBES), strict=True):
        if ours != theirs:
            raise ExportError(f"llama.cpp splits {text!r} into {theirs}, the tokenizer into {ours}: "
                              f"this tokenizer has no exact GGUF form ({vocabulary.keys['ggml.pre']})")
