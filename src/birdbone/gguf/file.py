"""An exported GGUF file: its name, and the types its tensors have in it."""

from __future__ import annotations

from pathlib import Path

from birdbone.errors import ExportError
from birdbone.gguf.header import tensor_types

GGUF_NAME = "model.gguf"


def refuse_substitutes(path: Path, types: dict[str, str]) -> None:
    """Raises ExportError where a tensor (name -> type) has another type in the file."""
    written = tensor_types(path)
    wrong = {n: (t, written.get(n)) for n, t in types.items() if written.get(n) != t}
    if wrong:
        name, (type_asked, type_written) = next(iter(wrong.items()))
        raise ExportError(
            f"{path}: {len(wrong)} tensors have another type than asked, such as {name}: "
            f"{type_asked} -> {type_written}"
        )


def type_counts(types: dict[str, str]) -> dict[str, int]:
    """How many tensors have each type, from tensor name -> type."""
    return {t: list(types.values()).count(t) for t in sorted(set(types.values()))}
