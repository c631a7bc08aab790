"""The mixture as a folder that stock transformers load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from birdbone.mixture.model import write_stock
from birdbone.mixture.page import card
from birdbone.model.folder import copy_tokenizer
from birdbone.pipelines.moe.parts import Parts


def export_mixture_folder(
    parts: Parts,
    tokenizer_folder: Path,
    about: dict,
    command: str,
) -> Callable[[Path], None]:
    """A writer of a folder for stock ``from_pretrained``: config, weights, tokenizer, card."""
    mixture = parts.mixture

    def write(place: Path) -> None:
        write_stock(mixture, place)
        copy_tokenizer(tokenizer_folder, place)
        (place / "README.md").write_text(card(parts.split.about, about, command))

    return write
