"""The block grids agree with gguf-py and with ggml itself, bit for bit."""

import gguf
import numpy as np
import pytest
import torch

from birdbone.algo.grids import BLOCK, GRIDS, Grid, fewest_bits, fitting

grids = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def weights(rows: int = 40, columns: int = 256) -> torch.Tensor:
    made = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1)) * 0.1
    made[0] = 0
    made[1, 5] = 40.0
    return made


@grids
def test_identity_matches_ggml(grid: Grid) -> None:
    kind = gguf.GGMLQuantizationType[grid.name]
    assert grid.ggml_type == kind
    assert gguf.GGML_QUANT_SIZES[kind] == (grid.unit, grid.unit_bytes)


def test_bits_per_weight_and_zeros_are_the_types_own() -> None:
    bits = {name: GRIDS[name].bits_per_weight for name in ("Q3_K", "IQ4_XS", "Q4_0", "Q8_0")}
    assert bits == {"Q3_K": 3.4375, "IQ4_XS": 4.25, "Q4_0": 4.5, "Q8_0": 8.5}
    assert GRIDS["Q4_0"].has_zero and not GRIDS["IQ4_NL"].has_zero


@grids
def test_any_bytes_dequantize_as_in_gguf_py(grid: Grid) -> None:
    packed = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (64, 2 * grid.unit_bytes), np.uint8)
    )
    packed[packed == 128] = 127  # Q8_0 has no -128
    with np.errstate(all="ignore"):
        theirs = gguf.quants.dequantize(packed.numpy(), gguf.GGMLQuantizationType[grid.name])
    assert np.array_equal(grid.dequantize(packed).numpy(), theirs, equal_nan=True)


@grids
def test_packing_loses_nothing(grid: Grid) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, len(grid.levels), (8, 512), generator=generator, dtype=torch.uint8)
    wanted = (
        torch.randn(8, 512 // grid.block, generator=generator) * torch.logspace(-8, 0, 8)[:, None]
    )
    wanted[3] = 0  # the first ones are less than the smallest normal float16
    scales = grid.representable(wanted)
    packed = grid.pack(codes, scales)
    assert packed.dtype == torch.uint8 and packed.shape == (8, grid.row_bytes(512))
    found_codes, found_scales = grid.unpack(packed)
    assert torch.equal(found_codes, codes) and torch.equal(found_scales, scales)
    assert torch.equal(grid.representable(scales), scales)
    unit = (
        wanted.abs()
        .view(8, -1, grid.unit // grid.block)
        .amax(2)
        .repeat_interleave(grid.unit // grid.block, 1)
    )
    step = (
        2**-11 if grid.least_step is None else 1.02 / -grid.least_step
    )  # the largest has no +32nd step
    lost = 2**-24 * (
        1 if grid.least_step is None else -grid.least_step
    )  # a step of the smallest float16 numbers
    assert ((scales - wanted).abs() <= step * unit + lost).all()


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "Q8_0"])
def test_reference_rounding_is_gguf_pys(name: str) -> None:
    values = weights()[1:]
    theirs = gguf.quants.quantize(values.numpy(), gguf.GGMLQuantizationType[name])
    assert np.array_equal(GRIDS[name].reference(values).numpy(), theirs)


@grids
def test_llama_cpps_bytes_pack_again(grid: Grid) -> None:
    packed = grid.reference(weights())
    again = grid.pack(*grid.unpack(packed))
    assert torch.equal(grid.dequantize(again), grid.dequantize(packed))


def test_an_importance_matrix_serves_the_important_column() -> None:
    grid, values = GRIDS["Q4_0"], weights()[2:]
    importance = torch.ones(256)
    importance[7] = 1e4

    def error(packed: torch.Tensor) -> float:
        return (grid.dequantize(packed) - values)[:, 7].square().sum().item()

    assert error(grid.reference(values, importance)) < 0.5 * error(grid.reference(values))


@grids
def test_searched_scales_beat_the_reference(grid: Grid) -> None:
    values = weights()
    scales = grid.scales(values.reshape(-1, grid.block)).view(len(values), -1)

    def error(scales: torch.Tensor) -> torch.Tensor:
        wide = scales.repeat_interleave(grid.block, 1)
        return (grid.weights(grid.nearest(values, wide), scales) - values).square().sum(1)

    plain = error(grid.unpack(grid.reference(values))[1])
    better = error(grid.representable(scales))
    assert (better <= 1.1 * plain).all()
    assert (
        better[2:].sum() < 0.99 * plain[2:].sum()
    )  # neither the row of zeros nor the one with an outlier


def test_a_weighted_scale_serves_the_weighted_column() -> None:
    grid, blocks = GRIDS["Q4_0"], weights()[2:, :BLOCK]
    importance = torch.ones_like(blocks)
    importance[:, 7] = 1e4

    def error(scale: torch.Tensor) -> float:
        return (
            (grid.value(grid.nearest(blocks[:, 7], scale), scale) - blocks[:, 7])
            .square()
            .sum()
            .item()
        )

    assert error(grid.scales(blocks, importance)) < 0.1 * error(grid.scales(blocks))


@grids
def test_one_column_at_a_time_is_nearest(grid: Grid) -> None:
    blocks = weights().reshape(-1, grid.block)
    scale, column = grid.scales(blocks), blocks[:, 3]
    found = grid.value(grid.nearest(column, scale), scale)
    every = torch.tensor(grid.levels) * scale[:, None]
    least = (every - column[:, None]).abs().amin(1)
    assert torch.allclose((found - column).abs(), least, atol=1e-7)


@grids
def test_a_zero_block_stays_zero(grid: Grid) -> None:
    zeros = torch.zeros(2, grid.unit)
    assert not grid.dequantize(grid.reference(zeros)).any()
    scales = grid.representable(grid.scales(zeros.view(-1, grid.block)).view(2, -1))
    assert not scales.any()
    assert not grid.dequantize(grid.pack(grid.nearest(zeros, scales[:, :1]), scales)).any()


def test_rows_take_the_types_that_divide_them() -> None:
    types = ["Q3_K", "Q4_0", "Q8_0"]
    assert fitting(types, 576) == ["Q4_0", "Q8_0"]
    assert fitting(GRIDS, 1536) == list(GRIDS)
    assert [fewest_bits(types, columns) for columns in (576, 1536, 40)] == [4.5, 3.4375, 16]


def test_rows_that_a_grid_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="Q3_K needs rows of multiples of 256, not 96"):
        GRIDS["Q3_K"].reference(torch.zeros(2, 96))
