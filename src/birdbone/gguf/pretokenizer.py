"""llama.cpp's name for the way a byte-level tokenizer splits text before merging."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from tokenizers import Regex, Tokenizer, pre_tokenizers

from birdbone.errors import ExportError

CHECK_TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ (multiple emojis "
    "concatenated) "
    "✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 "
    "?我想在apple工作1314151天～ ------======= нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? "
    "I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like some tea? "
    "We'Ve a'lL"
)


def split_steps(data: dict) -> list[dict]:
    """The pre-tokenizer of a ``tokenizer.json`` as a flat list."""
    step = data["pre_tokenizer"] or {"type": "Sequence", "pretokenizers": []}
    return step["pretokenizers"] if step["type"] == "Sequence" else [step]


def is_byte_level(data: dict) -> bool:
    """Whether tokens are bytes written as letters, as in GPT-2."""
    return any(step["type"] == "ByteLevel" for step in split_steps(data))


def split_name(folder: Path, backend: Tokenizer, data: dict) -> tuple[str, bool]:
    """llama.cpp's name for a byte-level tokenizer's split, and whether its hash is known.

    Raises ExportError when llama.cpp has no such split, or none that is known here.
    """
    digest = sha256(str(backend.encode(CHECK_TEXT).ids).encode()).hexdigest()
    if digest in _known()["hashes"]:
        return _known()["hashes"][digest], True
    steps = split_steps(data)
    kinds = [step["type"] for step in steps]
    last = steps[-1]
    if last.get("add_prefix_space"):
        raise ExportError(f"{folder}: a byte-level tokenizer with add_prefix_space has no GGUF form")
    if kinds == ["ByteLevel"] and last["use_regex"]:
        return "gpt-2", False
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and last["use_regex"]:
        return "smollm", False
    if kinds == ["Split", "ByteLevel"] and not last["use_regex"]:
        for row in _known()["patterns"]:
            same = steps[0]["pattern"].get("Regex") == row["regex"]
            if same and bool(data["model"].get("ignore_merges")) == row["ignore_merges"]:
                return row["pre"], False
    raise ExportError(
        f"{folder}: this split of text ({' + '.join(kinds)}, hash {digest[:8]}) is unknown; if "
        "llama.cpp has a name for it, add it to src/birdbone/gguf/pretokenizers.yml"
    )


def splitter(pre: str) -> pre_tokenizers.PreTokenizer | None:
    """The split that a GGUF file's ``tokenizer.ggml.pre`` names; None for a name not known here.

    transformers forgets it for some files (SmolLM's digits): set it on the tokenizer read from one.
    """
    if pre == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), splitter("gpt-2")])
    regex = next((row["regex"] for row in _known()["patterns"] if row["pre"] == pre), None)
    if regex is None:
        return None
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


@cache
def _known() -> dict[str, Any]:
    return yaml.safe_load((files("birdbone.gguf") / "pretokenizers.yml").read_text())
