"""Scans of version 1, which other programs wrote, are read; their faults are said."""

import json
import logging
import struct

import pytest

from birdbone.datasets.mscan import ScanWriter
from birdbone.datasets.mscan_open import open_scan
from birdbone.errors import ArtifactError


def v1(path, gradient=3, records=None, count=None, tokens=2):
    head = {
        "format_version": "1.1",
        "model_name": "old",
        "id_to_param_name_map": {"0": "model.layers.4.mlp.up_proj"},
        "sequences": [{"sequence_id": 0, "num_tokens": tokens, "source": "3+5=?"}],
    }
    text = json.dumps(head).encode()
    rows = (
        [(0, 0, 0, 7, gradient), (1, 0, 0, 9, gradient), (1, 0, 2, 11, 0)]
        if records is None
        else records
    )
    count = len(rows) if count is None else count
    path.write_bytes(
        struct.pack("<5sHII", b"MSCAN", 1, 15 + len(text), count)
        + text
        + b"".join(struct.pack("<IHHHH", *r) for r in rows)
    )
    return path


def test_version_1_is_read(tmp_path):
    scan = open_scan(v1(tmp_path / "old.mscan"))
    assert (scan.version, len(scan), scan.model, scan.modules[0].layer) == (1, 2, "old", 4)
    found = scan.token(1)["model.layers.4.mlp.up_proj"]
    assert found.a.tolist() == [9, 0, 11] and found.g.tolist() == [3, 0, 0]
    assert scan.layer(4)["model.layers.4.mlp.up_proj"].a.tolist() == [[7, 0, 0], [9, 0, 11]]
    assert not any("zero" in fault for fault in scan.faults)
    assert any("pairs input block i with output block i" in fault for fault in scan.faults)


def test_version_1_without_gradients_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        scan = open_scan(v1(tmp_path / "old.mscan", gradient=0))
    assert "every gradient is zero" in scan.faults[0]
    assert "every gradient is zero" in caplog.text and "old.mscan" in caplog.text


@pytest.mark.parametrize(
    "broken",
    [{"count": 4}, {"count": 2}, {"records": [(0, 5, 0, 1, 1)]}, {"records": [(7, 0, 0, 1, 1)]}],
)
def test_version_1_that_does_not_add_up_is_refused(tmp_path, broken):
    with pytest.raises(ArtifactError, match="old.mscan"):
        open_scan(v1(tmp_path / "old.mscan", **broken))


def test_version_1_can_not_be_extended(tmp_path):
    with pytest.raises(ArtifactError, match="only 2"):
        ScanWriter.extend(v1(tmp_path / "old.mscan"))
