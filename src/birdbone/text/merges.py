"""Byte-pair encodings as ``tokenizer.json`` has them: what a token is merged from, and a smaller
vocabulary that encodes alike.

A token's *derivation* is what merging its characters passes through. In any text whose encoding has
only kept tokens, every merge lies inside one of them, and it is one of that token's derivation: no
merge crosses a boundary of the result. So a vocabulary that is closed under derivations encodes
such a text as before, token by token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from birdbone.errors import ConfigError

Pair = tuple[str, str]


def read_merges(data: dict[str, Any]) -> dict[Pair, int]:
    """Every merge's rank, the earliest first. data: a ``tokenizer.json``.

    Raises ConfigError for a tokenizer that is no BPE.
    """
    model = data["model"]
    if model["type"] != "BPE":
        raise ConfigError(
            f"parameter vocabulary.keep: this model's tokenizer is {model['type']}, and only BPE "
            "can be made smaller. Set vocabulary.keep: all"
        )
    pairs = (tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"])
    return {pair: rank for rank, pair in enumerate(pairs)}


def derivation(token: str, merges: dict[Pair, int]) -> list[str]:
    """Every piece that merging a token's characters passes through, the result's pieces too."""
    pieces = list(token)
    seen = list(pieces)
    while len(pieces) > 1:
        ranks = [merges.get(pair, -1) for pair in zip(pieces, pieces[1:], strict=False)]
        possible = [rank for rank in ranks if rank >= 0]
        if not possible:
            break
        first = ranks.index(min(possible))
        pieces[first : first + 2] = [pieces[first] + pieces[first + 1]]
        seen.append(pieces[first])
    return seen


def single_bytes(vocabulary: Iterable[str]) -> set[str]:
    """The tokens of one character or one byte, in which any text can be written."""
    return {token for token in vocabulary if len(token) == 1 or _is_byte(token)}


def closed(data: dict[str, Any], tokens: Iterable[str]) -> set[str]:
    """The tokens and all that they need: derivations, single bytes, added and unknown tokens."""
    merges = read_merges(data)
    vocabulary = data["model"]["vocab"]
    added = {token["content"] for token in data["added_tokens"]}
    kept = single_bytes(vocabulary) | (added & vocabulary.keys())
    if (unknown := data["model"].get("unk_token")) in vocabulary:
        kept.add(unknown)
    for token in tokens:
        if token not in kept:
            kept.add(token)
            if token not in added:
                kept |= vocabulary.keys() & set(derivation(token, merges))
    return kept


def smaller(data: dict[str, Any], kept: set[str]) -> tuple[dict[str, Any], list[int]]:
    """A ``tokenizer.json`` of the kept tokens alone, and the old id of each new one.

    kept: as ``closed`` gives it. Ids keep their order. Added tokens beyond the vocabulary stay.
    """
    model = data["model"]
    added = {token["id"] for token in data["added_tokens"]}
    old = sorted({i for token, i in model["vocab"].items() if token in kept} | added)
    new = {i: number for number, i in enumerate(old)}
    vocabulary = {token: new[i] for token, i in model["vocab"].items() if i in new}
    merges = [
        m for m in model["merges"] if _whole(m.split(" ") if isinstance(m, str) else m, vocabulary)
    ]
    result = {
        **data,
        "model": {**model, "vocab": vocabulary, "merges": merges},
        "added_tokens": [{**token, "id": new[token["id"]]} for token in data["added_tokens"]],
        "post_processor": _renumbered(data["post_processor"], new),
    }
    return result, old


def _whole(pair: list[str], vocabulary: dict[str, int]) -> bool:
    return all(part in vocabulary for part in (*pair, "".join(pair)))


def _renumbered(processor: Any, new: dict[int, int]) -> Any:
    """A post-processor with its ids in the new numbers."""
    if isinstance(processor, list):
        return [_renumbered(part, new) for part in processor]
    if not isinstance(processor, dict):
        return processor
    changed = {key: _renumbered(part, new) for key, part in processor.items()}
    if isinstance(ids := processor.get("ids"), list):
        changed["ids"] = [new[i] for i in ids]
    for key in ("sep", "cls"):
        if isinstance(pair := processor.get(key), list):
            changed[key] = [pair[0], new[pair[1]]]
    return changed


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")
