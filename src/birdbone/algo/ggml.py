"""llama.cpp's own rounding, done by its library: the reference for every rounding of ours."""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor


def quantized(values: Tensor, ggml_type: int, row_bytes: int, importance: Tensor | None = None) -> Tensor:
    """Bytes of a matrix [R, C] as ``ggml_quantize_chunk`` makes them: uint8 [R, row_bytes].

    importance: mean squared input of each column [C], llama.cpp's importance matrix.
    """
    if importance is not None and importance.shape != values.shape[1:]:
        raise ValueError(f"importance of {tuple(importance.shape)} columns for a matrix of {tuple(values.shape)}")
    values = values.detach().float().cpu().contiguous()
    out = torch.zeros(len(values), row_bytes, dtype=torch.uint8)
    weights = None if importance is None else importance.float().cpu().contiguous()
    written = _quantize_chunk()(
        ggml_type,
        values.data_ptr(),
        out.data_ptr(),
        0,
        *values.shape,
        None if weights is None else weights.data_ptr(),
    )
    if written != out.numel():
        raise ValueError(f"ggml wrote {written} bytes of type {ggml_type} for {out.numel()}")
    return out


@cache
def _quantize_chunk() -> ctypes._CFuncPtr:
    from llama_cpp import llama_cpp  # loads its libraries: only where they are used

    function = llama_cpp._lib.ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    return function
