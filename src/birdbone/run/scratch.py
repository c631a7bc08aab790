"""The scratch folder of the node that runs, as an input of the node."""

from __future__ import annotations

import tempfile
from pathlib import Path

from kedro.io import AbstractDataset, DatasetError


class Scratch(AbstractDataset):
    """A folder for what a node writes while it works. The ledger sets it before each node.

    It belongs to one node on exactly these inputs and survives a kill: what a node finds in it was
    written by an unfinished attempt at the same result. It is removed once the node's outputs are
    saved. Outside a session of ours it is a new temporary folder.
    """

    def __init__(self, metadata: dict | None = None) -> None:
        self.metadata = metadata
        self.folder: Path | None = None

    def load(self) -> Path:
        return self.folder or Path(tempfile.mkdtemp(prefix="birdbone-"))

    def save(self, _: object) -> None:
        raise DatasetError("a scratch folder is written into, not saved")

    def digest(self) -> str:
        """Always the same: no result depends on where it was worked on."""
        return "scratch"

    def _describe(self) -> dict:
        return {}
