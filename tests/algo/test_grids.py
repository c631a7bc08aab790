"""The block grids agree with gguf-py and with ggml itself, bit for bit."""

import ctypes
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest
import torch

from birdbone.algo.grids import BLOCK, GRIDS, Grid

grids = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def weights(rows: int = 40, columns: int = 96) -> torch.Tensor:
    made = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1)) * 0.1
    made[0] = 0
    made[1, 5] = 40.0
    return made


def by_ggml(grid: Grid, values: torch.Tensor) -> torch.Tensor:
    """The bytes that llama.cpp's own quantizer makes."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(next(folder.glob("*ggml-base.*"))))
    source = np.ascontiguousarray(values.numpy())
    rows, columns = source.shape
    out = np.zeros((rows, columns // BLOCK * grid.block_bytes), np.uint8)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    addresses = source.ctypes.data, out.ctypes.data
    assert ggml.ggml_quantize_chunk(grid.ggml_type, *addresses, 0, rows, columns, None) == out.nbytes
    return torch.from_numpy(out)


@grids
def test_identity_matches_ggml(grid: Grid) -> None:
    kind = gguf.GGMLQuantizationType[grid.name]
    assert grid.ggml_type == kind
    assert gguf.GGML_QUANT_SIZES[kind] == (BLOCK, grid.block_bytes)
    assert grid.bits_per_weight == {"Q4_0": 4.5, "IQ4_NL": 4.5, "Q5_0": 5.5, "Q8_0": 8.5}[grid.name]
    assert grid.has_zero == (grid.name != "IQ4_NL")


@grids
def test_any_bytes_dequantize_as_in_gguf_py(grid: Grid) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, len(grid.levels), (8, 64), generator=generator, dtype=torch.uint8)
    scales = (torch.randn(8, 2, generator=generator) * 0.01).half().float()
    packed = grid.pack(codes, scales)
    assert packed.dtype == torch.uint8 and packed.shape == (8, 2 * grid.block_bytes)
    theirs = gguf.quants.dequantize(packed.numpy(), gguf.GGMLQuantizationType[grid.name])
    assert np.array_equal(grid.dequantize(packed).numpy(), theirs)
    found_codes, found_scales = grid.unpack(packed)
    assert torch.equal(found_codes, codes) and torch.equal(found_scales, scales)


@grids
def test_reference_rounding_is_llama_cpps(grid: Grid) -> None:
    values = weights()[1:]
    packed = grid.pack(*grid.reference(values))
    theirs = by_ggml(grid, values)
    same = (packed == theirs).reshape(-1, grid.block_bytes).all(1)
    # IQ4_NL's scale is a sum of 32 products, whose last bit depends on their order
    assert same.float().mean() >= (0.99 if grid.name == "IQ4_NL" else 1.0)


@grids
def test_searched_scales_beat_the_reference(grid: Grid) -> None:
    blocks = weights().reshape(-1, BLOCK)
    searched = grid.scales(blocks)
    assert torch.equal(searched, searched.half().float())

    def error(scale: torch.Tensor) -> torch.Tensor:
        return (grid.value(grid.nearest(blocks, scale[:, None]), scale[:, None]) - blocks).square().sum(1)

    plain = error(grid.reference(blocks)[1].squeeze(1))
    better = error(searched) <= plain
    assert better.float().mean() > 0.9 and (error(searched) <= 1.1 * plain).all()
    usual = slice(2 * 3, None)  # neither the row of zeros nor the one with an outlier
    assert error(searched)[usual].sum() < 0.95 * plain[usual].sum()


def test_a_weighted_scale_serves_the_weighted_column() -> None:
    grid, blocks = GRIDS["Q4_0"], weights()[2:, :BLOCK]
    importance = torch.ones_like(blocks)
    importance[:, 7] = 1e4

    def error(scale: torch.Tensor) -> float:
        return (grid.value(grid.nearest(blocks[:, 7], scale), scale) - blocks[:, 7]).square().sum().item()

    assert error(grid.scales(blocks, importance)) < 0.1 * error(grid.scales(blocks))


@grids
def test_one_column_at_a_time_is_nearest(grid: Grid) -> None:
    blocks = weights().reshape(-1, BLOCK)
    scale, column = grid.scales(blocks), blocks[:, 3]
    found = grid.value(grid.nearest(column, scale), scale)
    every = torch.tensor(grid.levels) * scale[:, None]
    least = (every - column[:, None]).abs().amin(1)
    assert torch.allclose((found - column).abs(), least, atol=1e-7)


@grids
def test_a_zero_block_stays_zero(grid: Grid) -> None:
    zeros = torch.zeros(2, BLOCK)
    assert not grid.dequantize(grid.pack(*grid.reference(zeros))).any()
    assert not grid.scales(zeros).any()
