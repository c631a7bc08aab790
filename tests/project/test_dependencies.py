"""What the results of the project's own nodes depend on: all that they read, and no more."""

from pathlib import Path

import pytest
from kedro.framework import project

from birdbone.run.code_digest import code_files
from birdbone.run.config import make_loader, project_root

SOURCE = Path(__file__).parents[2] / "src/birdbone"
OF_COMMANDS = {
    "scan/page.html": "`birdbone scan` and `birdbone image` make this page; no node does",
}
"""Data that no node reads, with the reason."""
ASKS_CANARIES = {
    "seed.baseline",
    "control.heal_seed",
    "report.final",
    "wave_1.guard",
    "wave_2.guard",
}


@pytest.fixture(scope="module")
def files_of() -> dict[str, set[str]]:
    """Name of each registered node -> the files its code digest is made of, relative to the
    package.
    """
    make_loader(project_root(), "base")
    nodes = {node for pipeline in project.pipelines.values() for node in pipeline.nodes}
    return {
        node.name: {name for path in code_files(node.func) for name in _inside(path)}
        for node in nodes
    }


def _inside(path: Path) -> list[str]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [file.relative_to(SOURCE).as_posix() for file in files]


def test_every_data_file_is_in_some_nodes_digest_or_is_a_commands(files_of):
    data = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert data - set().union(*files_of.values()) == set(OF_COMMANDS)


def test_the_model_cards_text_repeats_nothing_that_is_measured(files_of):
    assert {name for name, files in files_of.items() if "report/card.py" in files} == {
        "report.page",
        "moe.folder",
        "moe.page",
    }


def test_the_canaries_repeat_only_the_nodes_that_ask_them(files_of):
    assert {
        name for name, files in files_of.items() if "text/canaries.yml" in files
    } == ASKS_CANARIES


SHARED = ("pipelines/gathered.py", "pipelines/inputs.py", "pipelines/yardstick.py")
"""How nodes take several things as one argument, and what several stages take so."""


def test_each_stages_node_files_are_its_nodes_own(files_of):
    owners: dict[str, set[str]] = {}
    for node, files in files_of.items():
        for name in files:
            if name.startswith("pipelines/") and "settings" not in name and name not in SHARED:
                owners.setdefault(name, set()).add(node.partition(".")[0].partition("_")[0])
    assert not {name: stages for name, stages in owners.items() if len(stages) > 1}


def test_the_text_is_not_read_again_for_a_change_in_how_models_are_loaded(files_of):
    assert not any(
        name.startswith(("gguf/", "sources/", "model/pruning/")) for name in files_of["seed.text"]
    )
    assert not any(
        name.startswith(("model/judging/", "model/pruning/", "report/"))
        for name in files_of["seed.load"]
    )


def test_every_node_that_loads_a_model_depends_on_all_families(files_of):
    families = {f"model/families/{path.name}" for path in (SOURCE / "model/families").glob("*.yml")}
    loads = {name for name, files in files_of.items() if "model/family.py" in files}
    assert len(families) > 3 and loads and all(families <= files_of[name] for name in loads)
