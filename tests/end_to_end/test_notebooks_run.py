"""The notebooks, run from top to bottom on the results of a small run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from places import ROOT
from workspace import Workspace

from birdbone.git.notebooks import is_clean

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = {
    "activations": (2, ["| layer | neurons | firing rate |", "| 0 | 384 |", "| 1 | 384 |"]),
    "healing": (2, ["wave_1", "wave_2", "| wave | removed |"]),
    "resources": (
        4,
        ["birdbone", "llama.cpp Q4_0", "bits per weight", "tokens/s generating", "accepted"],
    ),
}
"""Per notebook: its figures, and what must stand in its outputs."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_on_a_small_run(
    undisturbed: Workspace, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    parameters = notebook.cells[1]
    assert parameters.metadata["tags"] == ["parameters"] and parameters.source.startswith(
        'ENV = "base"'
    )
    parameters.source = 'ENV = "quick"'
    there = {
        "metadata": {"path": str(undisturbed.root / "conf")}
    }  # any folder of the project will do
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=there).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [
        output
        for output in outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    shown = [
        output.get("text", "") + "".join(map(str, output.get("data", {}).values()))
        for output in outputs
    ]
    figures, words = SHOWN[path.stem]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == figures
    waves = (
        [undisturbed.json("quick", f"wave_{i}/verdict") for i in (1, 2)]
        if path.stem == "healing"
        else []
    )
    rows = [
        f"| {wave['wave']} | {wave['sparsity']:.2%} | {wave['parameters']:,} |" for wave in waves
    ]
    for word in [*words, *rows]:
        assert any(word in text for text in shown), word
    assert not any(str(undisturbed.root) in text for text in shown)


def test_every_notebook_is_tested_and_lies_in_git_without_outputs() -> None:
    assert {path.stem for path in NOTEBOOKS} == SHOWN.keys()
    assert [path.name for path in NOTEBOOKS if not is_clean(path.read_text())] == []
