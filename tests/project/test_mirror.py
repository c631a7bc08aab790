"""Tests are found by the name of what they test."""

import ast
from pathlib import Path

from places import ROOT, SRC

TESTS = ROOT / "tests"
WHOLE = ("end_to_end", "demo_project", "project")
"""Folders of tests that run whole commands, or look at the project's files as a whole."""
FILES = [path.relative_to(TESTS) for path in sorted(TESTS.rglob("test_*.py"))]


def has_module(test: Path) -> bool:
    """Whether ``a/test_c.py`` or ``a/test_c_in_part.py`` stands for ``src/birdbone/a/c.py``."""
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    return any((SRC / "birdbone" / test.parent / f"{name}.py").is_file() for name in names)


def test_every_test_file_is_named_after_a_module_or_runs_whole_commands() -> None:
    strays = [str(file) for file in FILES if file.parts[0] not in WHOLE and not has_module(file)]
    assert strays == [], "name a test after its module: tests/a/test_c.py for src/birdbone/a/c.py"


def test_no_test_file_imports_from_another() -> None:
    trees = {file: ast.walk(ast.parse((TESTS / file).read_text())) for file in FILES}
    borrowed = [
        f"{file}: {node.module}"
        for file, nodes in trees.items()
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("test_")
    ]
    assert borrowed == [], "move what is shared to tests/helpers"
