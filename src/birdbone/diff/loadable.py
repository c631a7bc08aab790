"""A patched model as a folder that ``from_pretrained`` and ``kedro run --params=model=FOLDER``
take.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from birdbone.datasets.atomic import MANIFEST, write_folder
from birdbone.datasets.folders import ModelFolder
from birdbone.errors import SourceError
from birdbone.model import folder as stock


def write_loadable(model: Path, tokenizer: Path, target: Path) -> None:
    """Write the model in a ``ModelFolder`` as stock safetensors in float32, with its tokenizer, at
    once.

    Raises SourceError where there is no tokenizer, ArtifactError where the model is damaged.
    """
    if not tokenizer.is_dir():
        raise SourceError(
            f"{tokenizer}, the tokenizer to put beside the model, is missing: dvc checkout, or "
            "kedro run"
        )

    def fill(place: Path) -> None:
        shutil.copytree(
            tokenizer, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST)
        )
        stock.write_folder(ModelFolder(str(model)).load(), place, torch.float32)

    write_folder(target, fill)
