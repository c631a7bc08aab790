"""Pictures in tests are small: what is tested of them does not hang on their size."""

import pytest

from birdbone.scan import neuroimage


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(neuroimage, "DPI", 30)
