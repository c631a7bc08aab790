"""The mixture as a file that stock llama.cpp runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from birdbone.gguf.file import GGUF_NAME
from birdbone.mixture.gguf import write_mixture
from birdbone.pipelines.moe.parts import Parts


def export_mixture_gguf(
    parts: Parts,
    tokenizer_folder: Path,
    about: dict,
    kind: str,
) -> Callable[[Path], None]:
    """A writer of ``model.gguf``, which stock llama.cpp runs as ``glm4moe``."""
    mixture = parts.mixture
    metadata = {"name": f"{about['name']} (birdbone mixture)"}
    metadata |= {"license": about["licence"]} if about["licence"] else {}

    def write(place: Path) -> None:
        write_mixture(place / GGUF_NAME, mixture, tokenizer_folder, kind=kind, metadata=metadata)

    return write
