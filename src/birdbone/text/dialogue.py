"""A person's lines in a dialogue with a model, as token ids through the model's own chat template.

No package that pip installs contains dialogues. So in the default set the seed answers these fixed
lines (``dialogue.yml``).
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files

import yaml

from birdbone.errors import TextError
from birdbone.text.splits import share_of

ANSWER = "\x00answer\x00"
"""Placeholder for the model's answers while the template is split into turns."""


def openings(share: float, count: dict[str, int], random_seed: int) -> dict[str, list[str]]:
    """``scan`` and ``heldout`` openings, none in both; repeated from the first where too few."""
    lines = sorted(_lines()["openings"], key=lambda line: share_of(line, random_seed))
    edge = round(share * len(lines))
    sides = {"scan": lines[:edge], "heldout": lines[edge:]}
    return {side: [part[i % len(part)] for i in range(count[side])] for side, part in sides.items()}


def turns(tokenizer, ends: Collection[int], opening: str, number: int) -> list[list[int]]:
    """Token ids of a person's turns, one list per turn.

    The first turn is the opening and everything before it. Each later turn is a follow-up with what
    the template puts between two turns, without the token of ``ends`` that the seed writes itself.
    ``number``: the follow-up to begin with. Without a chat template the turns are marked "User:"
    and "Assistant:".
    """
    follow_ups = _lines()["follow_ups"]
    start = number % len(follow_ups)
    lines = [opening, *follow_ups[start:], *follow_ups[:start]]
    messages = []
    for line in lines:
        messages += [{"role": "user", "content": line}, {"role": "assistant", "content": ANSWER}]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    else:
        text = "".join(f"{m['role'].title()}: {m['content']}\n" for m in messages)
    parts = [
        tokenizer(part, add_special_tokens=False).input_ids for part in text.split(ANSWER)[:-1]
    ]
    return [part[1:] if part and part[0] in ends else part for part in parts]


def check_chat(tokenizer) -> None:
    """Raises TextError where ``text.chat`` needs a chat template and the tokenizer has none."""
    if not tokenizer.chat_template:
        raise TextError(
            "parameter text.chat: this model's tokenizer has no chat template; "
            "give plain text instead"
        )


def shared_start(scripts: list[list[list[int]]]) -> int:
    """How many tokens all first turns begin with: the template's system message."""
    first = [script[0] for script in scripts]
    same = (len(set(column)) == 1 for column in zip(*first, strict=False))
    return next((i for i, equal in enumerate(same) if not equal), 0)


def _lines() -> dict[str, list[str]]:
    return yaml.safe_load((files("birdbone.text") / "dialogue.yml").read_text())
