"""A scan comes back as it was written, survives a crash, and refuses damage."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from mscan_files import CHUNKS, MODULES, norms, write

from birdbone.algo.sps import sps
from birdbone.datasets.mscan import Module, ScanWriter
from birdbone.datasets.mscan_open import open_scan
from birdbone.datasets.mscan_reader import block_table
from birdbone.errors import ArtifactError, NumericalError


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "a.mscan")
    return tmp_path / "a.mscan"


def whole(side, name):
    return torch.cat([chunk[side][name] for chunk in CHUNKS])


def test_every_layer_comes_back_within_half_precision(path):
    scan = open_scan(path)
    for layer, names in ((0, {"layers.0.q", "layers.0.down"}), (1, {"layers.1.q"})):
        found = scan.layer(layer)
        assert set(found) == names
        for name, (a, g) in found.items():
            torch.testing.assert_close(a, whole(0, name), rtol=2**-11, atol=0)
            torch.testing.assert_close(g, whole(1, name), rtol=2**-11, atol=0)


def test_every_token_comes_back_at_its_own_position(path):
    scan = open_scan(path)
    assert len(scan) == 12 and "".join(scan.tokens) == "abcdétuvwxyz"
    assert scan.sources == ["code"] * 4 + ["prose"] * 8
    for i in range(12):
        for name, (a, g) in scan.token(i).items():
            torch.testing.assert_close(a, whole(0, name)[i], rtol=2**-11, atol=0)
            torch.testing.assert_close(g, whole(1, name)[i], rtol=2**-11, atol=0)


@pytest.mark.parametrize("i", [-1, 12])
def test_a_token_that_is_not_there_is_an_index_error(path, i):
    with pytest.raises(IndexError, match="12 tokens"):
        open_scan(path).token(i)


def test_a_range_may_cross_chunks(path):
    found = open_scan(path).layer(1, 3, 7)["layers.1.q"]
    torch.testing.assert_close(found.a, whole(0, "layers.1.q")[3:7], rtol=2**-11, atol=0)
    assert open_scan(path).layer(1, 5, 5)["layers.1.q"].g.shape == (0, 1)


def test_header_says_what_was_scanned(path):
    scan = open_scan(path, model_digest="d" * 64)
    assert (scan.version, scan.model, scan.model_digest, scan.modules) == (
        2,
        "tiny",
        "d" * 64,
        MODULES,
    )
    assert scan.complete and scan.faults == ()


def test_scores_are_computed_from_a_scan(path):
    read = open_scan(path).layer(0)
    scores = sps(
        {n: x.a for n, x in read.items()}, {n: x.g for n, x in read.items()}, dict.fromkeys(read, 0)
    )
    assert scores["layers.0.down"].picture().shape == (12, 2, 3)


def test_block_ids_exceed_sixteen_bits():
    table = block_table([Module("head", 0, 64, 70_000 * 64)], 64)
    assert table.dtype == np.dtype("<u4") and table[-1].tolist() == [0, 1, 69_999]


def test_writing_twice_gives_the_same_bytes(path, tmp_path):
    write(tmp_path / "b.mscan")
    assert (tmp_path / "b.mscan").read_bytes() == path.read_bytes()


def test_each_chunk_and_module_has_its_own_scale(tmp_path):
    """A massive activation in one chunk must not cost another its precision; zeros stay zeros."""
    (a, g, tokens, source), (a2, g2, *rest), _ = CHUNKS
    loud = {n: x * 1e30 for n, x in a.items()}
    still = {n: torch.zeros_like(x) for n, x in g2.items()}
    write(tmp_path / "a.mscan", [(loud, g, tokens, source), (a2, still, *rest)])
    scan = open_scan(tmp_path / "a.mscan")
    torch.testing.assert_close(
        scan.token(4)["layers.0.q"].a, a2["layers.0.q"][0], rtol=2**-11, atol=0
    )
    torch.testing.assert_close(
        scan.token(0)["layers.0.q"].a, loud["layers.0.q"][0], rtol=2**-11, atol=0
    )
    assert not scan.token(4)["layers.0.q"].g.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, bad):
    a, g = norms(2, 0)
    g["layers.1.q"][1, 0] = bad
    with pytest.raises(NumericalError, match="gradient of layers.1.q"):
        write(tmp_path / "a.mscan", [(a, g, ["x", "y"])])


def test_chunks_that_do_not_fit_are_refused(tmp_path):
    a, g = norms(2, 0)
    with pytest.raises(ValueError, match="layers.0.q"):
        write(tmp_path / "a.mscan", [(a, g, ["one"])])
    with pytest.raises(ValueError, match="3 modules"):
        write(tmp_path / "a.mscan", [({}, g, ["x", "y"])])


def test_a_killed_writer_leaves_its_whole_chunks(tmp_path):
    """kill -9 after two chunks; half of a third is on disk."""
    path = tmp_path / "a.mscan"
    script = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from birdbone.datasets.mscan import ScanWriter
from mscan_files import ABOUT, CHUNKS
writer = ScanWriter(sys.argv[1], **ABOUT)
for chunk in CHUNKS[:2]:
    writer.append(*chunk)
write = writer._write
writer._write = lambda content: write(content[:200])
writer.append(*CHUNKS[2])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path), *sys.path], check=False)
    assert done.returncode == -9
    with pytest.raises(ArtifactError, match="5 tokens in 2 chunks"):
        open_scan(path)
    assert open_scan(path, partial=True).tokens == list("abcdé")


def test_every_cut_leaves_the_chunks_before_it(path):
    """Cut off at any byte: an error by default, whole chunks with partial=True."""
    content = path.read_bytes()
    starts = [content.find(b"CHNK")]
    while (at := content.find(b"CHNK", starts[-1] + 1)) > 0:
        starts.append(at)
    end = content.find(b"DONE")
    tokens = dict(zip([*starts, end], [0, 4, 5, 12], strict=True))
    for cut in range(starts[0], end + 63, 13):
        path.write_bytes(content[:cut])
        with pytest.raises(ArtifactError, match="a.mscan"):
            open_scan(path)
        scan = open_scan(path, partial=True)
        assert not scan.complete
        assert len(scan) == max(n for at, n in tokens.items() if at <= cut)
        assert len(scan.layer(0)["layers.0.q"].a) == len(scan)


def test_a_cut_header_cannot_be_read_at_all(path):
    content = path.read_bytes()
    for cut in (0, 3, 6, 12, 19, 100):
        path.write_bytes(content[:cut])
        with pytest.raises(ArtifactError, match="a.mscan"):
            open_scan(path, partial=True)


def test_any_flipped_byte_is_caught(path):
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match="a.mscan"):
            open_scan(path).verify()


def test_reading_checks_the_chunk_it_reads(path):
    content = bytearray(path.read_bytes())
    content[content.find(b"DONE") - 100] ^= 1
    path.write_bytes(content)
    scan = open_scan(path)
    assert scan.token(0)["layers.0.q"].a.shape == (2,)
    with pytest.raises(ArtifactError, match="tokens 5 to 11"):
        scan.token(6)


def test_lost_content_of_the_last_chunk_is_dropped(path):
    """After a power cut a file may have its length but not its last bytes."""
    content = path.read_bytes()
    end = content.find(b"DONE")
    path.write_bytes(content[: end - 128] + bytes(128))
    assert len(open_scan(path, partial=True)) == 5


@pytest.mark.parametrize("partial", [False, True])
def test_damage_in_a_finished_scan_is_never_taken_for_a_cut(path, partial):
    content = bytearray(path.read_bytes())
    content[content.find(b"CHNK") + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged; scan again"):
        open_scan(path, partial=partial)


def test_swapped_chunks_are_caught(tmp_path):
    write(tmp_path / "a.mscan", [CHUNKS[0], CHUNKS[0]])
    content = (tmp_path / "a.mscan").read_bytes()
    first, second, end = content.find(b"CHNK"), content.rfind(b"CHNK"), content.find(b"DONE")
    (tmp_path / "a.mscan").write_bytes(
        content[:first] + content[second:end] + content[first:second] + content[end:]
    )
    with pytest.raises(ArtifactError, match="damaged"):
        open_scan(tmp_path / "a.mscan")


def test_a_crashed_scan_goes_on_where_it_stopped(path, tmp_path):
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"CHNK") + 300])
    with ScanWriter.extend(path) as writer:
        writer.append(*CHUNKS[2])
    assert path.read_bytes() == content


def test_a_finished_scan_can_be_extended(path):
    before = path.read_bytes()
    with ScanWriter.extend(path) as writer:
        writer.append(*CHUNKS[0])
    assert "".join(open_scan(path).tokens) == "abcdétuvwxyzabcd"
    assert path.read_bytes().startswith(before[: before.find(b"DONE")])


def test_another_models_scan_is_refused(path):
    with pytest.raises(ArtifactError, match="another model"):
        open_scan(path, model_digest="e" * 64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGUF" + bytes(90), "not an .mscan file"),
        (b"MSCAN" + (9).to_bytes(2, "little") + bytes(90), "version 9"),
        (b"", "not an .mscan file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        open_scan(tmp_path / "x")


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(ArtifactError, match="run the scan"):
        open_scan(tmp_path / "none.mscan")


def test_ten_thousand_tokens_replay_quickly(tmp_path):
    modules = [Module(f"layers.{i}", i, 576 * 4, 576 * 4) for i in range(30)]
    with ScanWriter(tmp_path / "a.mscan", model="m", model_digest="", modules=modules) as writer:
        chunk = {m.name: torch.rand(500, 36) for m in modules}
        for _ in range(20):
            writer.append(chunk, chunk, ["x"] * 500)
    scan = open_scan(tmp_path / "a.mscan")
    scan.verify()
    for view in (lambda: scan.token(9_999), lambda: scan.layer(17)):
        start = time.process_time()
        view()
        assert time.process_time() - start < 0.05
