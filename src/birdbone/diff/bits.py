"""Tensors as bits: what files hold of them, and integers that no arithmetic rounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CODES = {
    torch.bool: "BOOL",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}
"""safetensors' word for each data type."""
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in CODES}
"""The data types by torch's word, as manifests have it."""
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Spec(NamedTuple):
    """A tensor's data type and shape, known without reading it."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def word(self) -> str:
        """The data type as manifests have it: ``float32``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def stored(self) -> Spec:
        """The tensor as files hold it: bools packed eight to a byte."""
        if self.dtype != torch.bool:
            return self
        return Spec(torch.uint8, ((math.prod(self.shape) + 7) // 8,))

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor as files hold it."""
        return math.prod(self.stored.shape) * self.dtype.itemsize

    def empty(self) -> Tensor:
        """A tensor of this kind, of any content."""
        return torch.empty(self.shape, dtype=self.dtype)


def spec_of(tensor: Tensor) -> Spec:
    """Data type and shape of a tensor."""
    return Spec(tensor.dtype, tuple(tensor.shape))


def raw(tensor: Tensor) -> np.ndarray:
    """The bytes [n] of a tensor as files hold it; a view of the tensor where that is possible."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.packbits(flat) if tensor.dtype == torch.bool else flat


def unraw(data: np.ndarray, spec: Spec) -> Tensor:
    """The tensor whose ``raw`` bytes these are; it shares their memory where that is possible."""
    if spec.dtype == torch.bool:
        data = np.unpackbits(data, count=math.prod(spec.shape))
    if not data.size:
        return spec.empty()
    return torch.from_numpy(data).view(spec.dtype).reshape(spec.shape)


def bits(tensor: Tensor) -> Tensor:
    """The tensor's memory seen as integers of the same width and shape."""
    return tensor.contiguous().view(INTEGERS[tensor.dtype.itemsize])
