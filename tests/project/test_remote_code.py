"""No code that comes with a model or a data set is ever run, and nobody is asked whether to."""

from __future__ import annotations

import ast
import json

import pytest
from places import ROOT

LOADERS = {
    "from_pretrained",
    "from_config",
    "load_dataset",
    "load_dataset_builder",
    "HFLM",
    "pipeline",
    "get_tokenizer",
}
"""Calls that run a stranger's code where they are told to, or ask."""


def sources() -> list[tuple[str, str]]:
    """(name, Python source) of every file and notebook of the project."""
    found = [
        (str(p.relative_to(ROOT)), p.read_text())
        for part in ("src", "benchmarks")
        for p in (ROOT / part).rglob("*.py")
    ]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
        found.append(
            (
                str(path.relative_to(ROOT)),
                "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!"))),
            )
        )
    return found


def calls_without_it(text: str) -> list[int]:
    """Lines of loading calls that do not pass ``trust_remote_code=False`` itself."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        said = [
            k.value.value
            for k in node.keywords
            if k.arg == "trust_remote_code" and isinstance(k.value, ast.Constant)
        ]
        if name in LOADERS and said != [False]:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("AutoConfig.from_pretrained(x)", True),
        ("AutoConfig.from_pretrained(x, trust_remote_code=True)", True),
        ("AutoConfig.from_pretrained(x, trust_remote_code=asked)", True),
        ("AutoConfig.from_pretrained(x, **settings)", True),
        ("AutoConfig.from_pretrained(x, trust_remote_code=False)", False),
        ("load_dataset(x)", True),
        ("read(x)", False),
    ],
)
def test_the_search_finds_what_it_is_for(line: str, wrong: bool) -> None:
    assert bool(calls_without_it(line)) is wrong


def test_every_call_that_could_run_a_strangers_code_is_told_not_to() -> None:
    found = sources()
    assert sum("trust_remote_code=False" in text for _, text in found) > 5
    assert [f"{name}:{line}" for name, text in found for line in calls_without_it(text)] == []
