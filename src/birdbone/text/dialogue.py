"""What a person says to a model that writes a dialogue, as token ids through the model's own chat template.

No wheel that pip installs holds dialogues, so the default set is talk between these fixed lines (``dialogue.yml``) and
the seed's own answers.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files

import yaml

from birdbone.errors import TextError
from birdbone.text.splits import share_of

ANSWER = "\x00answer\x00"
"""Stands for the model's words while a template is taken apart."""


def openings(share: float, count: dict[str, int], random_seed: int) -> dict[str, list[str]]:
    """``scan`` and ``heldout`` openings: each side has its own, again from the first where more are asked."""
    found = sorted(_lines()["openings"], key=lambda line: share_of(line, random_seed))
    edge = round(share * len(found))
    sides = {"scan": found[:edge], "heldout": found[edge:]}
    return {side: [own[i % len(own)] for i in range(count[side])] for side, own in sides.items()}


def turns(tokenizer, ends: Collection[int], opening: str, number: int) -> list[list[int]]:
    """Token ids of a person's turns: the opening with all before it, then each follow-up with what the template
    puts between two turns, less the one of ``ends`` (token ids) that the seed says itself.

    ``number`` says with which follow-up to begin. A tokenizer without a chat template gets plain "User:" and
    "Assistant:".
    """
    follow_ups = _lines()["follow_ups"]
    own = [opening, *(follow_ups[(number + i) % len(follow_ups)] for i in range(len(follow_ups)))]
    said = [(role, words) for line in own for role, words in (("user", line), ("assistant", ANSWER))]
    messages = [{"role": role, "content": words} for role, words in said]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    else:
        text = "".join(f"{m['role'].title()}: {m['content']}\n" for m in messages)
    parts = [tokenizer(part, add_special_tokens=False).input_ids for part in text.split(ANSWER)[:-1]]
    return [part[1:] if part and part[0] in ends else part for part in parts]


def check_chat(tokenizer) -> None:
    """Raises TextError for a tokenizer without a chat template, where ``text.chat`` asks for one."""
    if not tokenizer.chat_template:
        raise TextError("parameter text.chat: this model's tokenizer has no chat template; give plain text instead")


def shared_start(scripts: list[list[list[int]]]) -> int:
    """How many tokens all first turns begin with: the template's system message."""
    first = [script[0] for script in scripts]
    same = (len(set(column)) == 1 for column in zip(*first, strict=False))
    return next((i for i, equal in enumerate(same) if not equal), 0)


def _lines() -> dict[str, list[str]]:
    return yaml.safe_load((files("birdbone.text") / "dialogue.yml").read_text())
