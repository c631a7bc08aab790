"""The Kedro dataset of a scan: whole or not at all."""

import pytest
from kedro.io import DatasetError
from mscan_files import ABOUT, CHUNKS, write

from birdbone.datasets.mscan import MscanFile, ScanWriter
from birdbone.datasets.mscan_open import open_scan
from birdbone.errors import ArtifactError


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "a.mscan")
    return tmp_path / "a.mscan"


def test_the_dataset_takes_a_writer_or_a_written_file(path, tmp_path):
    by_call, by_path = (
        MscanFile(filepath=str(tmp_path / "deep" / n)) for n in ("a.mscan", "b.mscan")
    )
    assert not by_call.exists() and by_call.digest() is None
    by_call.save(write)
    by_path.save(path)
    assert by_call.load().tokens == by_path.load().tokens == open_scan(path).tokens
    assert by_call.exists() and by_call.digest() == by_path.digest()
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.mscan", "b.mscan"]


def test_a_failed_save_leaves_the_old_scan(path, tmp_path):
    dataset = MscanFile(filepath=str(path))
    before = path.read_bytes()

    def cut_off(place):
        ScanWriter(place, **ABOUT).append(*CHUNKS[0])

    with pytest.raises(DatasetError, match="truncated") as caught:
        dataset.save(cut_off)
    assert isinstance(caught.value.__cause__, ArtifactError)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_loading_a_damaged_scan_fails_and_it_does_not_exist(path):
    content = bytearray(path.read_bytes())
    content[content.find(b"DONE") - 100] ^= 1
    path.write_bytes(content)
    dataset = MscanFile(filepath=str(path))
    with pytest.raises(DatasetError, match="checksum"):
        dataset.load()
    assert not dataset.exists()
