"""Canaries: small questions with one right answer and some wrong ones, per domain."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from birdbone.errors import TextError


@dataclass(frozen=True)
class Canary:
    """``answers[0]`` is right; an answer is appended to the prompt as it stands."""

    domain: str
    prompt: str
    answers: tuple[str, ...]


def load_canaries(path: str | None = None) -> list[Canary]:
    """The project's own canaries, or those of a YAML file of the same form.

    Form: ``domain: [{prompt: ..., answer: ..., wrong: [...]}]``. Raises TextError naming file and entry.
    """
    place = Path(path).expanduser() if path else files("birdbone.text") / "canaries.yml"
    try:
        data = yaml.safe_load(place.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise TextError(f"canaries file {place}: {error}") from error
    if not isinstance(data, dict) or not data:
        raise TextError(f"canaries file {place}: needs `domain: [{{prompt, answer, wrong}}]`")
    canaries = []
    for domain, entries in data.items():
        if not isinstance(entries, list):
            raise TextError(f"canaries file {place}, {domain}: needs a list of {{prompt, answer, wrong}}")
        for number, entry in enumerate(entries, 1):
            try:
                answers = (str(entry["answer"]), *map(str, entry["wrong"]))
                canaries.append(Canary(str(domain), str(entry["prompt"]), answers))
            except (KeyError, TypeError) as error:
                raise TextError(
                    f"canaries file {place}, {domain} entry {number}: needs prompt, answer and wrong"
                ) from error
            if len(answers) < 2:
                raise TextError(f"canaries file {place}, {domain} entry {number}: needs at least one wrong answer")
    return canaries
