"""Notebooks in git: only sources are compared, only sources are kept."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
import pytest
from small_notebooks import notebook

from birdbone.errors import BirdboneError
from birdbone.git.notebooks import clean, is_clean, notebooks_text


def test_a_run_is_no_change() -> None:
    assert notebook("x = 1") != notebook("x = 1", ran=True)
    assert (
        notebooks_text({"n.ipynb": notebook("x = 1")}, {"n.ipynb": notebook("x = 1", ran=True)})
        == ""
    )


def test_changed_new_and_removed_cells_and_notebooks_are_shown_by_their_sources() -> None:
    old = {
        "a.ipynb": notebook("x = 1\ny = 2\nprint(x + y)", "last"),
        "gone.ipynb": notebook("left = 0"),
    }
    new = {
        "a.ipynb": notebook("x = 1\ny = 3\nprint(x + y)", "between", "last", ran=True),
        "b.ipynb": notebook("b"),
    }
    text = notebooks_text(old, new)
    assert "--- a.ipynb\n+++ a.ipynb\n" in text and "-  y = 2\n+  y = 3\n" in text
    assert "--- /dev/null\n+++ b.ipynb\n" in text and "--- gone.ipynb\n+++ /dev/null\n" in text
    lines = text.splitlines()
    assert "+      between" in lines and "-      left = 0" in lines
    assert "last" not in text
    for volatile in ("out", "ran-", "new-", "2031", "3.11.9", "widgets", "execution"):
        assert volatile not in text


def test_the_bytes_are_the_same_in_another_process_without_git_and_diff() -> None:
    old, new = (
        {"n.ipynb": notebook("a", "b", "c")},
        {"n.ipynb": notebook("b", "c = 2", "d", ran=True)},
    )
    program = (
        "import json, sys; from birdbone.git.notebooks import notebooks_text; "
        "sys.stdout.buffer.write(notebooks_text(*json.load(sys.stdin)).encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([old, new]).encode(),
        env={"PATH": "", "PYTHONHASHSEED": "7", "LANG": "C.UTF-8", "TZ": "Asia/Tokyo"},
        capture_output=True,
        check=True,
    )
    text = notebooks_text(old, new)
    assert text and done.stdout == text.encode()


def test_cleaning_keeps_sources_ids_and_tags_and_nothing_of_a_run() -> None:
    text = notebook("x = 1", "", ran=True)
    assert not is_clean(text)
    cleaned = clean(text)
    found = nbformat.reads(cleaned, as_version=4)
    assert [cell.source for cell in found.cells] == ["x = 1", ""]
    assert [cell.id for cell in found.cells] == ["ran-0", "ran-1"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in found.cells)
    assert all(cell.metadata == {"tags": ["parameters"]} for cell in found.cells)
    assert found.metadata == {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    assert is_clean(cleaned) and clean(cleaned) == cleaned
    assert is_clean(json.dumps(json.loads(cleaned), indent=4))  # layout is a formatter's affair


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}']
)
def test_what_is_no_notebook_is_named(text: str) -> None:
    with pytest.raises(BirdboneError, match="n.ipynb is not a notebook"):
        notebooks_text({"n.ipynb": text}, {})
    with pytest.raises(BirdboneError, match="n.ipynb is not a notebook"):
        clean(text, "n.ipynb")
