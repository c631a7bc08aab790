"""Pickles are told by their bytes, whatever they are called and however they are wrapped."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from places import ROOT
from safetensors.torch import save

from birdbone.git.pickles import SUFFIXES, pickle_reason

VALUE = {"weights": [1.0, 2.0], "name": Path("x")}


def saved(**options: object) -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, file, **options)
    return file.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def array(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [*sorted(SUFFIXES), ".PT"])
def test_the_usual_names_are_refused(suffix: str) -> None:
    assert pickle_reason(f"models/a{suffix}", b"")


@pytest.mark.parametrize(
    "content",
    [
        *[pickle.dumps(VALUE, protocol=p) for p in range(pickle.HIGHEST_PROTOCOL + 1)],
        saved(),
        saved(_use_new_zipfile_serialization=False),
        *[
            wrap(pickle.dumps(VALUE))
            for wrap in (gzip.compress, bz2.compress, lzma.compress, zlib.compress)
        ],
        gzip.compress(gzip.compress(pickle.dumps(VALUE))),
        zipped("inner.dat", pickle.dumps(VALUE)),
        array(np.array([VALUE, None])),
        zipped("a.npy", array(np.array([VALUE, None]))),
        zipped("a", b"x" * 100)[:80],
    ],
    ids=itertools.count(),  # some of the bytes hold the time
)
def test_pickles_under_a_harmless_name_are_found(content: bytes) -> None:
    assert pickle_reason("notes.dat", content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"N.",
        "Grüße. I came, I saw.".encode(),
        b"x",
        gzip.compress(b"plain text"),
        b"\x1f\x8b damaged",
        b"\x78 not zlib",
        zipped("a.txt", b"text"),
        array(np.arange(5)),
        save({"w": torch.zeros(3)}),
    ],
    ids=itertools.count(),
)
def test_what_is_no_pickle_passes(content: bytes) -> None:
    assert pickle_reason("notes.dat", content) is None


def test_every_file_of_the_project_passes() -> None:
    files = [
        p
        for place in ("src", "conf", "docs", "tests")
        for p in (ROOT / place).rglob("*")
        if p.is_file()
    ]
    files = [p for p in files if "__pycache__" not in p.parts and ".egg-info" not in str(p)]
    assert len(files) > 100
    assert {
        str(p): reason for p in files if (reason := pickle_reason(str(p), p.read_bytes()))
    } == {}
