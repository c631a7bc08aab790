"""A folder that stock transformers load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.folder import copy_tokenizer, write_folder
from birdbone.pipelines.export.settings import ExportSettings


def export_folder(
    accepted: Checkpoint, tokenizer_folder: Path, model_card: str, settings: ExportSettings
) -> Callable[[Path], None]:
    """A writer of a folder for ``from_pretrained``: configuration, weights, tokenizer, card."""

    def write(folder: Path) -> None:
        copy_tokenizer(tokenizer_folder, folder)
        write_folder(accepted, folder, getattr(torch, settings.dtype))
        (folder / "README.md").write_text(model_card)

    return write
