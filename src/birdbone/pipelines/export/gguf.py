"""A file that stock llama.cpp loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from birdbone.gguf.file import GGUF_NAME, refuse_substitutes
from birdbone.gguf.writer import write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import with_vectors
from birdbone.report.data import titled
from birdbone.run.specialise import job_of


def export_gguf(
    accepted: Checkpoint,
    quantized: Quantized,
    tokenizer_folder: Path,
    about: dict,
    specialise: dict[str, str] | None,
) -> Callable[[Path], None]:
    """A writer of ``model.gguf`` with the packed blocks as they are.

    Raises ExportError when a tensor's type in the file is not the requested one.
    """
    packed = quantized.packed
    types = quantized.types

    def write(folder: Path) -> None:
        path = folder / GGUF_NAME
        metadata = {"name": f"{titled(about['name'], job_of(specialise))} (birdbone)"} | (
            {"license": about["licence"]} if about["licence"] else {}
        )
        requested = write_gguf(
            path,
            with_vectors(accepted, packed, types),
            tokenizer_folder,
            default_type="f32",
            metadata=metadata,
            packed={n: (types[n], p.numpy()) for n, p in packed.items() if n in types},
            types={n: t for n, t in types.items() if n not in packed},
        )
        refuse_substitutes(path, requested)

    return write
