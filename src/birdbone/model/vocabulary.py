"""A model with fewer tokens: rows of its embedding and head, and every id it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birdbone.errors import ConfigError
from birdbone.model.checkpoint import Checkpoint
from birdbone.text.merges import smaller

TOKENIZER = "tokenizer.json"
IDS = ("_token_id", "_token_ids")
PARTIAL = "\ufffd"
"""What a character becomes that a window's edge cuts."""
LEFT_OUT = ("vocab.json", "merges.txt", "tokenizer.model", "added_tokens.json", "manifest.json")
"""Files of a tokenizer's folder that say the vocabulary again, beside ``tokenizer.json``."""


def with_tokens(checkpoint: Checkpoint, kept: Tensor) -> Checkpoint:
    """The model with these of its tokens alone, in this order. kept: old ids [V'].

    Its logits are the old ones of the kept tokens.
    """
    layout = checkpoint.layout
    rows = checkpoint.weights[layout.embedding].shape[0]
    named = [layout.embedding, layout.head, f"{layout.family.head}.bias", *layout.outer]
    weights = {
        name: checkpoint.weights[name][kept].contiguous()
        for name in named
        if name in checkpoint.weights and checkpoint.weights[name].shape[0] == rows
    }
    sizes = {key: len(kept) for key in ("vocab_size", *layout.family.vocabulary)}
    config = renumbered(checkpoint.config, kept.tolist())
    config |= {key: size for key, size in sizes.items() if key in config}
    return Checkpoint(config, checkpoint.weights | weights, checkpoint.masks)


def named_ids(settings: dict[str, Any]) -> list[int]:
    """Every id in a ``…_token_id``, one or several, less those of no token (-1 in some files)."""
    values = [value for key, value in settings.items() if key.endswith(IDS)]
    flat = [i for value in values for i in (value if isinstance(value, list) else [value])]
    return [i for i in flat if type(i) is int and i >= 0]


def renumbered(settings: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """Settings in which every ``…_token_id``, one or several, has the token's new number.

    An id of no token (-1 in some files) stays. Raises ConfigError for an id that was not kept.
    """
    new = {old: number for number, old in enumerate(kept)}

    def changed(key: str, value: Any) -> Any:
        if not key.endswith(IDS):
            return value
        if isinstance(value, list):
            return [changed(key, one) for one in value]
        if type(value) is not int or value < 0:
            return value
        if value not in new:
            raise ConfigError(
                f"parameter vocabulary.keep: token {value} would go, which the model's {key} names"
            )
        return new[value]

    return {key: changed(key, value) for key, value in settings.items()}


def write_tokenizer(source: Path, folder: Path, kept_tokens: set[str]) -> None:
    """A tokenizer's folder with the kept tokens alone; ``kept_tokens`` as ``closed`` gives them."""
    data, kept = smaller(json.loads((source / TOKENIZER).read_text(encoding="utf-8")), kept_tokens)
    text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
    (folder / TOKENIZER).write_text(text, encoding="utf-8")
    for file in sorted(source.iterdir()):
        if not file.is_file() or file.name in (TOKENIZER, *LEFT_OUT):
            continue
        if file.suffix == ".json":
            stored = _renumbered_file(json.loads(file.read_text(encoding="utf-8")), kept)
            (folder / file.name).write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
        else:
            (folder / file.name).write_bytes(file.read_bytes())


def _renumbered_file(stored: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """Settings of a tokenizer or of generation: ids, and tokens by id."""
    new = {old: number for number, old in enumerate(kept)}
    stored = renumbered(stored, kept)
    if isinstance(decoder := stored.get("added_tokens_decoder"), dict):
        stored["added_tokens_decoder"] = {
            str(new[int(i)]): token for i, token in decoder.items() if int(i) in new
        }
    return stored


def reread(windows: Tensor, ours, theirs) -> list[Tensor]:
    """The text of each window [N, T] of our tokenizer's, in the tokens of theirs, int64.

    A character that a window's edge cuts is left out.
    """
    strings = ours.batch_decode(windows, clean_up_tokenization_spaces=False)
    return [
        torch.tensor(theirs(s.strip(PARTIAL), add_special_tokens=False, verbose=False).input_ids)
        for s in strings
    ]


def kept_ids(source: Path, kept_tokens: set[str]) -> Tensor:
    """The old ids of the kept tokens, int64 [V'], in order."""
    data = json.loads((source / TOKENIZER).read_text(encoding="utf-8"))
    return torch.tensor(smaller(data, kept_tokens)[1])
