"""The files that CONTRIBUTING.md sends a newcomer to are there, and so are the make targets."""

from __future__ import annotations

import re

import pytest
from places import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PATHS = sorted(set(re.findall(r"`([\w./]+/[\w.]+\.\w+)`", TEXT)))
TARGETS = sorted(set(re.findall(r"\bmake (?:-s )?([a-z-]+)", TEXT)))


def test_it_names_files_and_targets() -> None:
    assert len(PATHS) > 10 and {"lint", "digests", "hooks"} <= set(TARGETS)


@pytest.mark.parametrize("path", PATHS)
def test_a_named_file_is_there(path: str) -> None:
    if path.startswith("data/"):  # a run makes it
        entry = path.replace("data/tiny", "${globals:data}", 1)
        assert any(entry in file.read_text() for file in (ROOT / "conf/base").glob("catalog*.yml"))
    else:
        assert any((place / path).is_file() for place in (ROOT, ROOT / "src/birdbone"))


@pytest.mark.parametrize("target", TARGETS)
def test_a_named_target_is_one(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
