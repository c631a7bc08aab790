"""Canaries: small questions with one right answer and some wrong ones, per domain."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from birdbone.errors import TextError

KEYS = ("prompt", "answer", "wrong")
FORM = "`domain: [{prompt: ..., answer: ..., wrong: [...]}]`"


@dataclass(frozen=True)
class Canary:
    """``answers[0]`` is right. An answer is appended to the prompt unchanged."""

    domain: str
    prompt: str
    answers: tuple[str, ...]


class AsWritten(yaml.BaseLoader):
    """YAML whose scalars stay text as written: ``no``, ``1e2``, ``017``. No key may come twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key comes twice", node.start_mark
            )
        return mapping


def load_canaries(path: str | None = None) -> list[Canary]:
    """The project's own canaries, or those of a YAML file of the same form.

    Form: ``domain: [{prompt: ..., answer: ..., wrong: [...]}]``. A single wrong answer needs no
    list. Raises TextError naming file and entry.
    """
    place = Path(os.path.expanduser(path)) if path else files("birdbone.text") / "canaries.yml"
    try:
        data = yaml.load(place.read_text(encoding="utf-8-sig"), AsWritten)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TextError(f"canaries file {place}: {error}") from error
    if not isinstance(data, dict) or not data:
        raise TextError(f"canaries file {place}: needs {FORM}")
    canaries = []
    for domain, entries in data.items():
        if not isinstance(entries, list) or not entries:
            raise TextError(
                f"canaries file {place}, {domain}: needs a list of {{prompt, answer, wrong}}"
            )
        for number, entry in enumerate(entries, 1):
            try:
                canaries.append(_canary(domain, entry))
            except ValueError as error:
                raise TextError(
                    f"canaries file {place}, {domain} entry {number}: {error}"
                ) from None
    return canaries


def _canary(domain: str, entry: Any) -> Canary:
    """Raises ValueError saying what is wrong with the entry."""
    if not isinstance(entry, dict) or any(entry.get(key) in (None, "") for key in KEYS):
        raise ValueError("needs prompt, answer and wrong")
    if unknown := entry.keys() - set(KEYS):
        raise ValueError(f"has {', '.join(sorted(unknown))} beside prompt, answer and wrong")
    wrong = [entry["wrong"]] if isinstance(entry["wrong"], str) else entry["wrong"]
    if not wrong or not isinstance(wrong, list):
        raise ValueError("needs at least one wrong answer, more of them in a list")
    texts = [entry["prompt"], entry["answer"], *wrong]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("prompt and answers must be text that is not empty")
    if len(set(texts[1:])) < len(texts) - 1:
        raise ValueError("has the same answer twice")
    return Canary(domain, texts[0], tuple(texts[1:]))
