"""Pictures in tests are small: what is tested of them does not hang on their size."""

import pytest
from small_scans import scan_file

from birdbone.scan import neuroimage


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(neuroimage, "DPI", 30)


@pytest.fixture
def scan(tmp_path):
    return scan_file(tmp_path / "s.mscan", {"code": 3, "prose": 3})
