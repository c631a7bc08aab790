"""Each requirement has an id of its own and a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from places import ROOT

FILE = ROOT / "requirements/requirements.md"
ROW = re.compile(r"\| (BB-\d{3}) \| (.+) \| (tests/\S+\.py)::(\w+) \|")


def rows() -> list[tuple[str, str, str, str]]:
    lines = [line for line in FILE.read_text().splitlines() if line.startswith("| ")][2:]
    matches = [ROW.fullmatch(line) for line in lines]
    wrong = [line for line, match in zip(lines, matches, strict=True) if match is None]
    assert wrong == []
    return [match.groups() for match in matches if match]


def functions_in(path: Path) -> set[str]:
    """The test functions at a module's top, which is where pytest finds them here."""
    found = ast.parse(path.read_text()).body
    return {
        node.name
        for node in found
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_ids_are_unique_and_in_order() -> None:
    ids = [row[0] for row in rows()]
    assert len(ids) >= 15
    assert ids == sorted(set(ids))


def test_every_named_test_exists() -> None:
    missing = [f"{i}: {file}::{name}" for i, _, file, name in rows() if not (ROOT / file).is_file()]
    missing += [
        f"{i}: {file}::{name}"
        for i, _, file, name in rows()
        if (ROOT / file).is_file() and name not in functions_in(ROOT / file)
    ]
    assert missing == []


def test_one_requirement_is_said_once() -> None:
    said = [row[1] for row in rows()]
    assert len(said) == len(set(said))
