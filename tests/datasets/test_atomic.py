"""Files and folders are there whole and verified, or not at all."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from birdbone.datasets import atomic
from birdbone.datasets.atomic import (
    MANIFEST,
    canonical_json,
    link_tree,
    read_manifest,
    verify_folder,
    write_file,
    write_folder,
)
from birdbone.errors import ArtifactError


def two_files(text: str = "old"):
    def fill(folder: Path) -> dict:
        (folder / "a.txt").write_text(text)
        (folder / "deep").mkdir()
        (folder / "deep" / "b.bin").write_bytes(bytes(1000))
        return {"about": text}

    return fill


def contents(folder: Path) -> dict:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def litter(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if ".tmp" in p.name]


@pytest.fixture
def stored(tmp_path) -> Path:
    write_folder(tmp_path / "thing", two_files())
    return tmp_path / "thing"


def test_the_manifest_names_every_file_and_keeps_extras(stored):
    manifest = verify_folder(stored)
    assert {n: e["bytes"] for n, e in manifest["files"].items()} == {"a.txt": 3, "deep/b.bin": 1000}
    assert manifest["about"] == "old"


@pytest.mark.parametrize("name", ["a.txt", "deep/b.bin"])
def test_one_flipped_bit_names_its_file(stored, name):
    file = stored / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name} does not match"):
        verify_folder(stored)


def test_no_flipped_bit_of_a_manifest_passes(stored):
    path = stored / MANIFEST
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = verify_folder(stored)
        except ArtifactError as error:
            assert str(stored) in str(error)
        else:
            assert found == json.loads(whole), f"byte {place}"


@pytest.mark.parametrize("name", ["a.txt", "deep/b.bin"])
def test_a_truncated_or_missing_file_is_named(stored, name):
    (stored / name).write_bytes((stored / name).read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=rf"{name} is missing or truncated"):
        read_manifest(stored)
    (stored / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name} is missing or truncated"):
        read_manifest(stored)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"a.txt": {}}}', "\0\0"]
)
def test_a_manifest_that_is_none_says_what_to_do(stored, content):
    (stored / MANIFEST).write_text(content)
    with pytest.raises(ArtifactError, match="manifest.json is corrupted: delete .* and run again"):
        verify_folder(stored)


def test_a_folder_without_a_manifest_is_not_there(stored):
    (stored / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="missing or incomplete"):
        read_manifest(stored)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "deep/../../x"])
def test_a_manifest_that_points_outside_is_refused(stored, name):
    (stored.parent / "x").write_text("secret")

    def fill(folder: Path) -> dict:
        (folder / "a.txt").write_text("old")
        return {}

    write_folder(stored, fill)
    manifest = json.loads((stored / MANIFEST).read_text())
    manifest["files"] = {name: {"bytes": 6, "sha256": "0" * 64}}
    (stored / MANIFEST).write_text(atomic.signed(manifest))
    with pytest.raises(ArtifactError, match="outside its folder"):
        read_manifest(stored)


@pytest.mark.parametrize("fails", ["fill", "sync", "rename", "second rename", "digest"])
def test_a_crash_in_the_middle_leaves_the_old_folder(stored, monkeypatch, fails):
    before, real, calls = contents(stored), os.rename, []

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    def second(*args):
        calls.append(args)
        return real(*args) if len(calls) != 2 else stop()

    fill = two_files("new")
    if fails == "fill":
        fill = lambda folder: (two_files("new")(folder), stop())  # noqa: E731
    elif fails == "sync":
        monkeypatch.setattr(atomic, "sync", stop)
    elif fails == "digest":
        monkeypatch.setattr(atomic, "file_digest", stop)
    else:
        monkeypatch.setattr(os, "rename", stop if fails == "rename" else second)
    with pytest.raises(KeyboardInterrupt):
        write_folder(stored, fill)
    monkeypatch.undo()
    assert contents(stored) == before
    assert not litter(stored.parent)


def test_a_crash_before_the_first_save_leaves_nothing(tmp_path):
    def fill(folder: Path) -> None:
        (folder / "a").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_folder(tmp_path / "thing", fill)
    assert not list(tmp_path.iterdir())


def test_saving_again_replaces_every_file(stored):
    write_folder(stored, lambda folder: (folder / "c.txt").write_text("new") and None)
    assert set(contents(stored)) == {"c.txt", MANIFEST}
    assert not litter(stored.parent)


def test_a_crash_while_replacing_a_file_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "deeper" / "note.json"
    write_file(path, "old")

    def stop(*_args):
        raise KeyboardInterrupt

    for name in ("replace", "fsync"):
        monkeypatch.setattr(os, name, stop)
        with pytest.raises(KeyboardInterrupt):
            write_file(path, "new")
        monkeypatch.undo()
        assert path.read_text() == "old" and not litter(path.parent)
    write_file(path, b"new")
    assert path.read_text() == "new"


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from birdbone.datasets.atomic import write_file
from birdbone.datasets.folders import FileFolder, ModelFolder, TensorFolder
from birdbone.model.checkpoint import Checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
place, big = Path(sys.argv[1]), torch.ones(1000, 1000)
saves = {
    "file": lambda p: write_file(p, "x" * 1_000_000),
    "folder": lambda p: FileFolder(str(p)).save(
        lambda f: (f / "a").write_bytes(bytes(1_000_000)) and None
    ),
    "tensors": lambda p: TensorFolder(str(p)).save(({"x": big}, {})),
    "model": lambda p: ModelFolder(str(p)).save(Checkpoint({}, {"x": big})),
}
for name, save in saves.items():
    try:
        save(place / name)
    except Exception as error:
        first = error if name == "file" else error.__cause__
        print(type(first).__name__, first)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs file size limits")
def test_a_full_disk_is_named_and_the_old_content_stays(tmp_path):
    write_file(tmp_path / "file", "old")
    for name in ("folder", "tensors", "model"):
        write_folder(tmp_path / name, two_files())
    before = contents(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True
    )
    for name, line in zip(
        ("file", "folder", "tensors", "model"), run.stdout.splitlines(), strict=True
    ):
        assert line.startswith(f"ArtifactError no space left to write {tmp_path / name}"), (
            run.stderr
        )
    assert contents(tmp_path) == before
    assert not litter(tmp_path)


def test_linking_shares_files_and_leaves_the_manifest(stored, tmp_path):
    target = tmp_path / "linked"
    target.mkdir()
    link_tree(stored, target)
    assert set(contents(target)) == {"a.txt", "deep/b.bin"}
    assert (target / "a.txt").stat().st_ino == (stored / "a.txt").stat().st_ino


def test_where_links_are_impossible_files_are_copied(stored, tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "copied"
    target.mkdir()
    link_tree(stored, target)
    assert (target / "deep" / "b.bin").read_bytes() == bytes(1000)
    assert (target / "a.txt").stat().st_ino != (stored / "a.txt").stat().st_ino


def test_replacing_a_folder_does_not_touch_what_was_linked_from_it(stored, tmp_path):
    target = tmp_path / "linked"
    write_folder(target, lambda folder: link_tree(stored, folder))
    write_folder(stored, two_files("new"))
    assert (target / "a.txt").read_text() == "old"
    verify_folder(target)


def test_one_value_has_one_text():
    assert (
        canonical_json({"b": 1, "a": [1.5, "ü"]})
        == canonical_json({"a": [1.5, "ü"], "b": 1})
        == '{"a":[1.5,"ü"],"b":1}'
    )
