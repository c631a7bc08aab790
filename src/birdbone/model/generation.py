"""How a model ends and samples its text: ``generation_config.json``, which travels beside the
tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from birdbone.errors import ArtifactError

FILE = "generation_config.json"
OTHER_ENDS = ("eot", "eom")
"""llama.cpp's names for end tokens beside eos: of a turn, of a message."""
SAMPLING = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
"""transformers' names of sampling settings -> llama.cpp's, after ``general.sampling.``."""

Writer = Callable[[Path], Any]


def folder_generation(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The text of a model folder's ``generation_config.json``; without one, what ``config`` says of
    several end tokens. Raises ArtifactError naming the file, and the key, where it is damaged.
    """
    path = folder / FILE
    if path.is_file():
        _settings(path)
        return path.read_text(encoding="utf-8")
    ends = config.get("eos_token_id")
    return _text({"eos_token_id": ends} if isinstance(ends, list) and len(ends) > 1 else {})


def gguf_generation(metadata: Mapping[str, Any]) -> str | None:
    """The same from a GGUF file's keys: end tokens where they are several, and sampling
    settings.
    """
    ids = (metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", *OTHER_ENDS))
    ends = list(dict.fromkeys(int(i) for i in ids if i is not None))
    stored = {ours: metadata.get(f"general.sampling.{theirs}") for ours, theirs in SAMPLING.items()}
    sampling = {name: round(value, 6) for name, value in stored.items() if value is not None}
    return _text(
        ({"eos_token_id": ends} if len(ends) > 1 else {}) | ({"do_sample": True, **sampling} if sampling else {})
    )


def beside(write_tokenizer: Writer, generation: str | None) -> Writer:
    """A writer of the tokenizer's folder, ``generation_config.json`` in it."""
    if generation is None:
        return write_tokenizer

    def write(folder: Path) -> None:
        write_tokenizer(folder)
        (Path(folder) / FILE).write_text(generation)

    return write


def end_tokens(folder: Path, tokenizer) -> list[int]:
    """Every token that ends a text: the tokenizer's own first, then those of the folder's
    generation settings.

    Raises ArtifactError for a damaged ``generation_config.json``.
    """
    named = [tokenizer.eos_token_id, *_ends(_settings(Path(folder) / FILE))]
    vocabulary = len(tokenizer)
    return [
        i for i in dict.fromkeys(named) if i is not None and 0 <= i < vocabulary
    ]  # -1 stands for none in some files


def sampling_keys(folder: Path) -> dict[str, int | float]:
    """The folder's sampling settings under llama.cpp's keys; none where it samples nothing."""
    settings = _settings(Path(folder) / FILE)
    if not settings.get("do_sample"):
        return {}
    keys = {theirs: settings.get(ours) for ours, theirs in SAMPLING.items()}
    return {
        f"general.sampling.{name}": int(value) if name == "top_k" else float(value)
        for name, value in keys.items()
        if value is not None
    }


def _text(settings: dict[str, Any]) -> str | None:
    return json.dumps(settings, indent=2) + "\n" if settings else None


def _settings(path: Path) -> dict[str, Any]:
    """What a generation_config.json says, nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}. Download it again, or delete it") from error
    if not isinstance(settings, dict):
        raise ArtifactError(f"{path} is not a JSON object. Download it again, or delete it")
    if not all(type(i) is int for i in _ends(settings)):
        raise ArtifactError(f"{path}: eos_token_id is {settings['eos_token_id']!r}: give a token id or a list of them")
    for name in SAMPLING:
        if not isinstance(value := settings.get(name), int | float | None) or isinstance(value, bool):
            raise ArtifactError(f"{path}: {name} is {value!r}: give a number or null")
    return settings


def _ends(settings: dict[str, Any]) -> list[int]:
    ends = settings.get("eos_token_id")
    if ends is None:
        return []
    return ends if isinstance(ends, list) else [ends]
