"""The mixture as a folder that stock transformers load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from birdbone.mixture.model import write_stock
from birdbone.mixture.page import card
from birdbone.mixture.split import Routers, Split, mixture_from
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.folder import copy_tokenizer


def export_mixture_folder(
    source: Checkpoint,
    split: Split,
    healed: Routers,
    tokenizer_folder: Path,
    about: dict,
    command: str,
) -> Callable[[Path], None]:
    """A writer of a folder for stock ``from_pretrained``: config, weights, tokenizer, card."""
    mixture = mixture_from(source, split, healed)

    def write(place: Path) -> None:
        write_stock(mixture, place)
        copy_tokenizer(tokenizer_folder, place)
        (place / "README.md").write_text(card(split.about, about, command))

    return write
