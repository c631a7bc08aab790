"""A patched model as a folder for ``from_pretrained`` and ``kedro run --params=model=FOLDER``."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from birdbone.datasets import atomic
from birdbone.datasets.folders import ModelFolder
from birdbone.errors import SourceError
from birdbone.model.folder import write_folder


def write_loadable(model: Path, tokenizer: Path, target: Path) -> None:
    """Write a ``ModelFolder``'s model at once, as stock float32 safetensors with its tokenizer.

    Raises SourceError where there is no tokenizer, ArtifactError where the model is damaged.
    """
    if not tokenizer.is_dir():
        raise SourceError(
            f"{tokenizer}, the tokenizer to put beside the model, is missing: dvc checkout, or "
            "kedro run"
        )

    def fill(place: Path) -> None:
        shutil.copytree(
            tokenizer, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns(atomic.MANIFEST)
        )
        write_folder(ModelFolder(str(model)).load(), place, torch.float32)

    atomic.write_folder(target, fill)
