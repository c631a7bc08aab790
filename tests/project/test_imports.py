"""How the project's modules may import each other."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/birdbone"
ABOVE = {
    "algo": {"errors"},
    "text": {"errors", "progress", "text"},
    "model": {"algo", "errors", "model", "progress", "strict", "text"},
    "gguf": {"algo", "errors", "gguf", "model", "processes", "progress"},
    "sources": {"errors", "gguf", "model", "progress", "sources", "text"},
    "datasets": {"datasets", "errors", "model"},
    "report": {"algo", "datasets", "errors", "gguf", "model", "report"},
}
"""Room -> the rooms it may import: none of them imports it."""
LAST = {"cli", "pipelines"}
"""Rooms that nothing below them imports."""


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file takes from the project, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "birdbone":
            yield from ((node.module, alias.name) for alias in node.names)


def room(module: str, name: str) -> str:
    return (f"{module}.{name}".split(".") + [""])[1]


def test_no_private_name_is_imported_across_modules():
    taken = {
        f"{path.relative_to(SOURCE)}: {module}.{name}"
        for path in SOURCE.rglob("*.py")
        for module, name in imports(path)
        if name.startswith("_") and not name.startswith("__")
    }
    assert not taken


def test_no_arrow_climbs():
    climbs = {
        f"{path.relative_to(SOURCE)} -> {room(*taken)}"
        for start, allowed in ABOVE.items()
        for path in (SOURCE / start).rglob("*.py")
        for taken in imports(path)
        if room(*taken) not in allowed | {start}
    }
    assert not climbs


def test_no_modules_import_each_other_in_a_circle():
    files = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    graph = {
        module: {f"{base}.{name}" if f"{base}.{name}" in files else base for base, name in imports(path)} - {module}
        for module, path in files.items()
    }
    TopologicalSorter(graph).prepare()


def test_nothing_imports_the_stages_or_the_commands_but_what_collects_them():
    collects = {"parameters.py", "pipeline_registry.py"}
    taken = {
        f"{path.relative_to(SOURCE)} -> {room(*name)}"
        for path in SOURCE.rglob("*.py")
        for name in imports(path)
        if room(*name) in LAST - {path.relative_to(SOURCE).parts[0]} and path.name not in collects
    }
    assert not taken
