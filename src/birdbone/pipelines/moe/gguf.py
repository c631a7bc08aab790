"""The mixture as a file that stock llama.cpp runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from birdbone.gguf.file import GGUF_NAME
from birdbone.mixture.gguf import write_mixture
from birdbone.mixture.split import Routers, Split, mixture_from
from birdbone.model.checkpoint import Checkpoint


def export_mixture_gguf(
    source: Checkpoint,
    split: Split,
    healed: Routers,
    tokenizer_folder: Path,
    about: dict,
    kind: str,
) -> Callable[[Path], None]:
    """A writer of ``model.gguf``, which stock llama.cpp runs as ``glm4moe``."""
    mixture = mixture_from(source, split, healed)
    metadata = {"name": f"{about['name']} (birdbone mixture)"}
    metadata |= {"license": about["licence"]} if about["licence"] else {}

    def write(place: Path) -> None:
        write_mixture(place / GGUF_NAME, mixture, tokenizer_folder, kind=kind, metadata=metadata)

    return write
