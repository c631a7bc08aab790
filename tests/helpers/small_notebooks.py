"""Notebooks as text."""

import nbformat
from nbformat import v4


def notebook(*sources: str, ran: bool = False) -> str:
    """A notebook of code cells; ``ran``: with outputs, counts, times, widgets, and other ids."""
    cells = []
    for i, source in enumerate(sources):
        cell = v4.new_code_cell(
            source, id=f"{'ran' if ran else 'new'}-{i}", metadata={"tags": ["parameters"]}
        )
        if ran:
            cell.outputs, cell.execution_count = [v4.new_output("stream", text="out\n")], i + 7
            cell.metadata["execution"] = {"iopub.execute_input": "2031-01-01T00:00:00Z"}
        cells.append(cell)
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    if ran:
        metadata["language_info"]["version"] = "3.11.9"
        metadata["widgets"] = {"state": {}}
    return nbformat.writes(v4.new_notebook(cells=cells, metadata=metadata))
