"""How a model ends and samples its text: ``generation_config.json``, which travels beside the tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from birdbone.errors import ArtifactError

FILE = "generation_config.json"
OTHER_ENDS = ("eot", "eom")
"""llama.cpp's names for end tokens beside eos: of a turn, of a message."""

Writer = Callable[[Path], Any]


def folder_generation(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The text of a model folder's ``generation_config.json``; without one, what ``config`` says of several end
    tokens. Raises ArtifactError naming the file, and the key, where it is damaged.
    """
    path = folder / FILE
    if path.is_file():
        _ends(path)
        return path.read_text()
    return _several(config.get("eos_token_id"))


def gguf_generation(metadata: Mapping[str, Any]) -> str | None:
    """The same of a GGUF file's keys."""
    ids = (metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", *OTHER_ENDS))
    return _several(list(dict.fromkeys(int(i) for i in ids if i is not None)))


def beside(write_tokenizer: Writer, generation: str | None) -> Writer:
    """A writer of the tokenizer's folder, ``generation_config.json`` in it."""
    if generation is None:
        return write_tokenizer

    def write(folder: Path) -> None:
        write_tokenizer(folder)
        (Path(folder) / FILE).write_text(generation)

    return write


def end_tokens(folder: Path, tokenizer) -> list[int]:
    """Every token that ends a text: the tokenizer's own first, then those of the folder's generation settings.

    Raises ArtifactError for a damaged ``generation_config.json``.
    """
    path = Path(folder) / FILE
    named = [tokenizer.eos_token_id, *(_ends(path) if path.is_file() else [])]
    known = len(tokenizer)
    return [i for i in dict.fromkeys(named) if i is not None and 0 <= i < known]  # -1 stands for none in some files


def _several(ends: Any) -> str | None:
    return json.dumps({"eos_token_id": ends}, indent=2) + "\n" if isinstance(ends, list) and len(ends) > 1 else None


def _ends(path: Path) -> list[int]:
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}. Download it again, or delete it") from error
    if not isinstance(settings, dict):
        raise ArtifactError(f"{path} is not a JSON object. Download it again, or delete it")
    found = settings.get("eos_token_id")
    ends = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(i) is int for i in ends):
        raise ArtifactError(f"{path}: eos_token_id is {found!r}: give a token id or a list of them")
    return ends
