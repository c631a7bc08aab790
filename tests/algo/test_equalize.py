"""Column scales: columns come out equally large, and zeros stay."""

import pytest
import torch

from birdbone.algo.equalize import column_scales


def test_columns_come_out_equally_large_and_zeros_stay():
    power = torch.tensor([4.0, 0.0, 1.0, 0.25])
    scales = column_scales(power)
    assert scales[1] == 1
    scaled = (power * scales.square())[[0, 2, 3]]
    torch.testing.assert_close(scaled, scaled[:1].expand(3))
    assert scales[[0, 2, 3]].log().mean() == pytest.approx(0, abs=1e-6)
