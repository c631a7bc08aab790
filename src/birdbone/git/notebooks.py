"""Notebooks in git: the difference of their sources, and cleaning before a commit.

Needs the extra ``notebooks`` (nbdime, nbformat).
"""

from __future__ import annotations

import io
from typing import Any

from birdbone.errors import BirdboneError

KEPT_OF_NOTEBOOK = {"kernelspec": ("display_name", "language", "name"), "language_info": ("name",)}
KEPT_OF_CELL = ("tags",)
"""Metadata that is kept; the rest (versions, widths, times, widgets) differs between machines."""


def notebooks_text(old: dict[str, str], new: dict[str, str]) -> str:
    """What changed in the cells' sources, by nbdime, notebook by notebook; empty where nothing did.

    old, new: path -> a notebook's JSON. Outputs, ids, counts and metadata are ignored. Equal
    arguments give equal bytes. Raises BirdboneError naming what is not a notebook.
    """
    texts = []
    for path in sorted({*old, *new}):
        before = old.get(path)
        after = new.get(path)
        if before == after:
            continue
        difference = _difference(_sources(path, before), _sources(path, after))
        if difference or before is None or after is None:
            old_name = "/dev/null" if before is None else path
            new_name = "/dev/null" if after is None else path
            texts.append(f"--- {old_name}\n+++ {new_name}\n{difference}")
    return "".join(texts)


def clean(text: str, path: str = "notebook") -> str:
    """A notebook without outputs, execution counts and volatile metadata.

    Raises BirdboneError when it is not one.
    """
    nbformat = _library("nbformat")
    notebook = _read(path, text)
    notebook.metadata = _kept(notebook.metadata)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {k: cell.metadata[k] for k in KEPT_OF_CELL if k in cell.metadata}
        )
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return nbformat.writes(notebook) + "\n"


def is_clean(text: str, path: str = "notebook") -> bool:
    """Whether ``clean`` would change nothing but layout."""
    return _read(path, clean(text, path)) == _read(path, text)


def _difference(old: Any, new: Any) -> str:
    diff_notebooks = _library("nbdime").diff_notebooks
    printing = _library("nbdime.prettyprint")
    out = io.StringIO()
    # No git, no diff: other programs' versions would show in the bytes.
    config = printing.PrettyPrintConfig(out=out, use_git=False, use_diff=False, use_color=False)
    printing.pretty_print_diff(old, diff_notebooks(old, new), "", config)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _sources(path: str, text: str | None) -> Any:
    """A notebook of the cells' types and sources alone; an empty one for None."""
    cells = [] if text is None else _read(path, text).cells
    plain = [_cell(cell.cell_type, cell.source) for cell in cells]
    return _library("nbformat").from_dict(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": plain}
    )


def _cell(kind: str, source: str) -> dict:
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **code}


def _kept(metadata: Any) -> Any:
    nbformat = _library("nbformat")
    parts = {
        part: {k: metadata[part][k] for k in keys if k in metadata[part]}
        for part, keys in _parts(metadata)
    }
    return nbformat.from_dict(parts)


def _parts(metadata: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(part, keys) for part, keys in KEPT_OF_NOTEBOOK.items() if part in metadata]


def _read(path: str, text: str) -> Any:
    nbformat = _library("nbformat")
    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BirdboneError(f"{path} is not a notebook: {reason}") from error
    return notebook


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise BirdboneError(
            f"notebooks need {error.name}: pip install 'birdbone[notebooks]'"
        ) from error
