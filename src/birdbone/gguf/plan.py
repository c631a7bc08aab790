"""A checkpoint's tensors under GGUF's names, in GGUF's order of rows and in GGUF's types."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig

from birdbone.algo.budget import Option, summed
from birdbone.algo.grids import GRIDS
from birdbone.errors import ExportError
from birdbone.gguf.keys import GgufShape, architecture_name, gguf_shape, model_keys, query_factor, rope_factors
from birdbone.gguf.names import tensor_names
from birdbone.gguf.order import rows_to_file, to_file
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.family import Family
from birdbone.model.folder import beyond
from birdbone.model.network import hf_config

FLOATS = {"F32": torch.float32, "F16": torch.float16}


@dataclass
class FilePlan:
    """What goes into a file: names, types and bytes of every tensor."""

    checkpoint: Checkpoint
    types: dict[str, str]
    packed: dict[str, tuple[str, Any]]
    default_type: str
    family: Family = field(init=False)
    config: PretrainedConfig = field(init=False)
    shape: GgufShape = field(init=False)
    arch: str = field(init=False)

    def __post_init__(self) -> None:
        self.family = self.checkpoint.layout.family
        self.config = hf_config(self.checkpoint.config)
        self.shape = gguf_shape(self.checkpoint)
        self.arch = architecture_name(self.family.gguf, self.shape, self.checkpoint.layout.heads[0])
        unknown = sorted((self.types.keys() | self.packed.keys()) - self.checkpoint.weights.keys())
        if unknown:
            raise ExportError(f"types or packed name {unknown[0]}, which the model does not have")
        for kind in {self.default_type, *self.types.values(), *(k for k, _ in self.packed.values())}:
            if kind.upper() not in FLOATS and kind.upper() not in GRIDS:
                raise ExportError(f"unknown tensor type {kind!r}; known: {', '.join([*FLOATS, *GRIDS])}")

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        return self.checkpoint.weights[self.checkpoint.layout.embedding].shape[0]

    def keys(self) -> dict[str, Any]:
        """Every key of the architecture."""
        return model_keys(self.arch, self.family.gguf, self.config, self.shape, self.vocabulary)

    def factors(self) -> Tensor | None:
        """Divisors of the rotary frequencies, where the model has any."""
        form = self.family.gguf
        return rope_factors(form, self.config, self.shape.head_size) if form.rope else None

    def names(self) -> dict[str, list[str]]:
        """GGUF name -> the canonical weights that it joins, in the file's order."""
        names = tensor_names(self.checkpoint.layout, self.checkpoint.weights, self.arch)
        lost = sorted(self.checkpoint.weights.keys() - {n for parts in names.values() for n in parts})
        if lost:
            raise ExportError(
                f"{lost[0]} has no name in llama.cpp's {self.arch}: describe it under gguf in {self.family.file}"
            )
        return names

    def kind(self, name: str, parts: list[str]) -> str:
        """The ggml type of a tensor."""
        asked = {self._kind(part) for part in parts}
        if len(asked) > 1:
            raise ExportError(f"{name} joins {', '.join(parts)}, which need one type, not {sorted(asked)}")
        if name.removesuffix(".weight").rpartition(".")[2] in self.family.gguf.float32 and parts[0] not in self.packed:
            return "F32"
        return asked.pop()

    def _kind(self, part: str) -> str:
        if part in self.packed:
            return self.packed[part][0].upper()
        if self.checkpoint.weights[part].ndim == 1:
            return "F32"
        return self.types.get(part, self.default_type).upper()

    def dimensions(self, parts: list[str]) -> tuple[int, ...]:
        """The shape of a tensor, parts joined by rows."""
        shapes = [squeezed(self.checkpoint.weights[part]).shape for part in parts]
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def data(self, parts: list[str], kind: str) -> np.ndarray:
        """The bytes or numbers of a tensor, parts joined by rows."""
        return np.concatenate([self._part(part, kind) for part in parts])

    def _part(self, part: str, kind: str) -> np.ndarray:
        weight = self.checkpoint.weights[part]
        if part in self.packed:
            rows = torch.as_tensor(self.packed[part][1], dtype=torch.uint8).reshape(weight.shape[0], -1)
            if rows.shape[1] != GRIDS[kind].row_bytes(weight.shape[1]):
                raise ExportError(
                    f"packed {part} has {rows.shape[1]} bytes per row, not those of {weight.shape[1]} {kind} weights"
                )
            return rows_to_file(self.checkpoint.layout, self.arch, part, rows).contiguous().numpy()
        numbers = to_file(self.checkpoint.layout, self.arch, part, weight.detach().float())
        heads = self.family.head_norms
        if heads and part.endswith(f"{heads.query}.weight"):
            numbers = numbers * query_factor(self.config, self.shape)
        return encoded(part, squeezed(numbers), kind)


def squeezed(tensor: Tensor) -> Tensor:
    """A convolution's weight [channels, 1, width] as a matrix; any other tensor as it is."""
    return tensor.squeeze(1) if tensor.ndim == 3 else tensor


def joined(checkpoint: Checkpoint) -> dict[str, list[str]]:
    """GGUF name -> the canonical weights that it joins: they need one type."""
    return FilePlan(checkpoint, {}, {}, "F16").names()


def beyond_half(checkpoint: Checkpoint) -> dict[str, str]:
    """F32 for each matrix that F16 cannot hold, and for those that are one with it in the file."""
    lost = set(beyond(checkpoint.weights, torch.float16))
    return {n: "F32" for parts in joined(checkpoint).values() if lost & set(parts) for n in parts}


def priced_together(
    checkpoint: Checkpoint, options: dict[str, list[Option]]
) -> tuple[dict[str, list[Option]], dict[str, list[str]]]:
    """Options of tensors that are one in the file, summed under the first one's name, and the members of each."""
    groups = [[n for n in parts if n in options] for parts in joined(checkpoint).values()]
    groups = [parts for parts in groups if parts]
    members = {parts[0]: parts for parts in groups}
    together = {first: summed([options[n] for n in parts]) for first, parts in members.items()}
    copies = Counter(parts[0] for parts in groups)
    return {
        first: [option._replace(bytes=option.bytes * copies[first]) for option in own]
        for first, own in together.items()
    }, members


def encoded(part: str, weight: Tensor, kind: str) -> np.ndarray:
    """A matrix or vector as the bytes or numbers of a ggml type. Raises ExportError naming ``part``."""
    if kind in GRIDS:
        if not GRIDS[kind].fits(weight.shape[1]):
            raise ExportError(f"{part} has rows of {weight.shape[1]}: {kind} needs multiples of {GRIDS[kind].unit}")
        return GRIDS[kind].reference(weight).numpy()
    array = weight.to(FLOATS[kind]).contiguous().numpy()
    if not np.isfinite(array).all():
        raise ExportError(f"{part} does not fit {kind}: it holds NaN, infinity or values beyond its range")
    return array
