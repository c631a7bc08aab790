"""Where a dataset lies on disk."""

from __future__ import annotations

from pathlib import Path


def place_of(dataset: object) -> Path | None:
    """A dataset's file or folder; None for one that is held in memory.

    Ours have it as ``filepath``; Kedro's own keep the same under ``_filepath``.
    """
    place = getattr(dataset, "filepath", None) or getattr(dataset, "_filepath", None)
    return Path(place) if place is not None else None
