"""The text of a model for Python: parts that share no package, licences left out."""

from __future__ import annotations

import pytest

from birdbone.errors import TextError
from birdbone.text import python_code
from birdbone.text.python_code import CALIBRATION, GUARD, MANY, TEST, python_files, without_header
from birdbone.text.sources import built_in_files, documents
from birdbone.text.splits import job_parts


def test_no_package_is_in_two_parts():
    parts = [set(CALIBRATION), set(GUARD), set(TEST)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    titles: dict[str, set[str]] = {}
    for part, title, _ in python_files():
        titles.setdefault(part, set()).add(title.partition("/")[0])
    assert titles["guard"] <= set(GUARD) and titles["test"] <= set(TEST)
    assert len(titles["guard"]) > 5 and len(titles["test"]) > 5


def test_every_file_is_in_the_part_that_it_says():
    found = documents("python")
    split = job_parts(found, 0)
    assert {name: {d.part for d in part} for name, part in split.items()} == {
        name: {name} for name in split
    }
    assert sum(map(len, split.values())) == len(found)


def test_every_file_counts_in_what_a_run_depends_on():
    assert len(built_in_files("python")) == len(list(python_files()))
    assert len(built_in_files("code")) == len(documents("code"))


def test_a_large_package_does_not_drown_the_others(tmp_path):
    files = [tmp_path / f"{n}.py" for n in range(MANY + 9)]
    some = python_code._some(files, tmp_path)
    assert len(some) == MANY and some == sorted(some)
    assert some == python_code._some(files[::-1], tmp_path)


def test_the_comments_that_a_file_begins_with_are_left_out():
    source = "#!/usr/bin/env python\n# Copyright\n\n# Licence\nimport os  # kept\n# kept\n"
    assert without_header(source) == "import os  # kept\n# kept\n"
    assert without_header('"""Doc."""\n') == '"""Doc."""\n'


def test_a_machine_without_the_packages_is_told_so(monkeypatch):
    monkeypatch.setattr(python_code, "find_spec", lambda name: None)
    with pytest.raises(TextError, match="python.*only 0 are there.*make setup"):
        list(python_files())
