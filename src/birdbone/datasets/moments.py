"""The Kedro dataset of the seed's second moments."""

from __future__ import annotations

import shutil
from pathlib import Path

from birdbone.datasets.folders import Stored
from birdbone.model.observing.moments import SecondMoments


class MomentsFolder(Stored):
    """Second moments, which a node wrote into a folder of its own: saves that folder, loads
    ``SecondMoments``.

    What is missing or of another model is computed anew to the same bits, so nothing depends on
    what is here: the digest is always the same.
    """

    def save(self, folder: Path) -> None:
        shutil.rmtree(self.filepath, ignore_errors=True)
        self.filepath.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, self.filepath)

    def load(self) -> SecondMoments:
        return SecondMoments(self.filepath)

    def _exists(self) -> bool:
        return True

    def digest(self) -> str:
        return "not looked at"
