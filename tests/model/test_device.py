"""Which precision healing, writing and masks compute in."""

import pytest
import torch

from birdbone.model.device import BFLOAT16_UNITS, compute_dtype


@pytest.mark.parametrize("unit", BFLOAT16_UNITS)
def test_a_processor_that_multiplies_bfloat16_does(unit, monkeypatch):
    for name in BFLOAT16_UNITS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == unit, raising=False)
    assert compute_dtype("auto", "cpu") == torch.bfloat16


def test_without_such_a_unit_it_is_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, BFLOAT16_UNITS[0], lambda: False, raising=False)
    monkeypatch.delattr(torch.cpu, BFLOAT16_UNITS[1], raising=False)
    assert compute_dtype("auto", "cpu") == torch.float32


def test_what_is_asked_for_by_name_is_taken():
    assert (
        compute_dtype("float32", "cpu") == torch.float32
        and compute_dtype("bfloat16", "cpu") == torch.bfloat16
    )
