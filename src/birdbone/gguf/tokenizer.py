"""A Hugging Face tokenizer folder as GGUF keys.

Two kinds: byte-level BPE (llama.cpp's model "gpt2") and SentencePiece-style BPE with byte
fallback (its model "llama"; scores follow from the order of the merges).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from birdbone.errors import ExportError
from birdbone.gguf.pretokenizer import is_byte_level, split_name, split_steps
from birdbone.model.generation import OTHER_ENDS, end_tokens, sampling_keys

SPACE = "\u2581"
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask"}
UNUSED_SCORE, ADDED_SCORE = -10_000.0, -1_000.0
PROBES = (
    "Hello, world!",
    "The year 1969: 3 men, 384,400 km and 21.5 kg of rock.",
    "I've been told he's there; they'll say we'd gone.",
    "def f(x):\n    return x ** 2  # square\n\n\nprint(f(12))\n",
    "naïve café Ærøskøbing Москва 東京 🙂",
    " leading, trailing and   inner spaces ",
    "\ttabs\tand\nnew lines\n\n",
    "a_b-c/d\\e: <tag> {1: 'x'} @user #42 100%",
)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file holds of a tokenizer. proven: llama.cpp is known to split text the same way;
    ends: the tokens that end a text; sampling: how to draw the next one.
    """

    keys: dict[str, Any]
    tokens: list[str]
    types: list[int]
    scores: list[float] | None
    merges: list[str] | None
    proven: bool
    backend: Tokenizer
    ends: list[int]
    sampling: dict[str, int | float]

    def add_to(self, writer: GGUFWriter) -> None:
        """Write every key of the tokenizer and of sampling."""
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores:
            writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        for key, value in self.keys.items():
            add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32}[type(value)]
            add(f"tokenizer.{key}", value)
        for key, value in self.sampling.items():
            (writer.add_int32 if isinstance(value, int) else writer.add_float32)(key, value)

    def expected(self) -> list[list[int]]:
        """The ids of ``PROBES``, which llama.cpp has to find too."""
        return [self.backend.encode(text, add_special_tokens=False).ids for text in PROBES]


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The tokenizer of a folder with ``tokenizer.json``, padded to ``size`` tokens.

    Raises ExportError when it is missing, of a kind llama.cpp has no form for, or too large.
    """
    tokenizer = _load(folder)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    data = json.loads(backend.to_str())
    model = data["model"]
    if model["type"] != "BPE":
        raise ExportError(f"{folder}: a {model['type']} tokenizer; only BPE can be written to GGUF")
    tokens, types = _tokens(folder, tokenizer, data, size)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    ends, sampling = end_tokens(folder, tokenizer), sampling_keys(folder)
    keys = _special(folder, tokenizer, backend) | _end_keys(ends)
    if is_byte_level(data):
        pre, proven = split_name(folder, backend, data)
        keys |= {"ggml.model": "gpt2", "ggml.pre": pre}
        return Vocabulary(keys, tokens, types, None, merges, proven, backend, ends, sampling)
    if not model.get("byte_fallback"):
        raise ExportError(
            f"{folder}: a BPE tokenizer that is neither byte-level nor has byte fallback has no GGUF form"
        )
    keys |= {"ggml.model": "llama", "ggml.pre": "default", "ggml.add_space_prefix": _adds_space(data)}
    types = [_piece_type(t, k, model.get("unk_token")) for t, k in zip(tokens, types, strict=True)]
    scores = _scores(tokens, types, model["merges"])
    return Vocabulary(keys, tokens, types, scores, None, False, backend, ends, sampling)


def _load(folder: Path) -> PreTrainedTokenizerFast:
    if not (Path(folder) / "tokenizer.json").is_file():
        raise ExportError(f"{folder} has no tokenizer.json: save the tokenizer there with save_pretrained")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ExportError(f"{folder}: the tokenizer cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise ExportError(f"{folder}: only tokenizers of the tokenizers library can be written to GGUF")
    return tokenizer


def _tokens(folder: Path, tokenizer: PreTrainedTokenizerFast, data: dict, size: int) -> tuple[list[str], list[int]]:
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    if max(by_id) >= size:
        raise ExportError(f"{folder}: the tokenizer has {max(by_id) + 1} tokens, the embedding {size}")
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(size)]
    types = [int(TokenType.NORMAL if i in by_id else TokenType.UNUSED) for i in range(size)]
    for added in data["added_tokens"]:
        control = added["special"] or _looks_special(added["content"])
        types[added["id"]] = int(TokenType.CONTROL if control else TokenType.USER_DEFINED)
        if not control:
            tokens[added["id"]] = added["content"].replace(SPACE, " ")
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        raise ExportError(f"{folder}: token {twice[0]!r} appears twice, which llama.cpp refuses")
    return tokens, types


def _looks_special(token: str) -> bool:
    marks = (("<|", "|>"), ("<unused", ">"))
    return token in ("<pad>", "<mask>") or any(token.startswith(a) and token.endswith(b) for a, b in marks)


def _special(folder: Path, tokenizer: PreTrainedTokenizerFast, backend: Tokenizer) -> dict[str, Any]:
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in SPECIAL}
    keys: dict[str, Any] = {f"ggml.{SPECIAL[n]}_token_id": int(i) for n, i in ids.items() if i is not None}
    bare = backend.encode("a", add_special_tokens=False).ids
    full = backend.encode("a").ids
    at = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), None)
    if at is None:
        raise ExportError(f"{folder}: special tokens change the tokens of the text itself")
    before, after = full[:at], full[at + len(bare) :]
    if before not in ([], [ids["bos"]]) or after not in ([], [ids["eos"]]):
        raise ExportError(
            f"{folder}: puts ids {before} before and {after} after a text; llama.cpp can "
            "only add the bos token before and the eos token after it"
        )
    keys |= {"ggml.add_bos_token": bool(before), "ggml.add_eos_token": bool(after)}
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return keys | ({"chat_template": template} if template else {})


def _end_keys(ends: list[int]) -> dict[str, int]:
    """llama.cpp's keys for the tokens that end a text: eos, and two more."""
    return {f"ggml.{name}_token_id": i for name, i in zip(("eos", *OTHER_ENDS), ends, strict=False)}


def _adds_space(data: dict) -> bool:
    normalizer = data["normalizer"] or {}
    normalizers = normalizer.get("normalizers", [normalizer])
    if any(n.get("type") == "Prepend" for n in normalizers):
        return True
    return any(s["type"] == "Metaspace" and s.get("prepend_scheme") != "never" for s in split_steps(data))


def _piece_type(token: str, kind: int, unknown: str | None) -> int:
    if token == unknown:
        return int(TokenType.UNKNOWN)
    is_byte = len(token) == 6 and token.startswith("<0x") and token.endswith(">")
    return int(TokenType.BYTE) if is_byte and kind == TokenType.NORMAL else kind


def _scores(tokens: list[str], types: list[int], merges: list) -> list[float]:
    """SentencePiece's scores: the earlier a piece is first merged, the higher."""
    rank: dict[str, int] = {}
    for merge in merges:
        rank.setdefault("".join(merge if isinstance(merge, list) else merge.split(" ")), len(rank) + 1)
    fixed = {
        int(TokenType.UNUSED): UNUSED_SCORE,
        int(TokenType.CONTROL): ADDED_SCORE,
        int(TokenType.USER_DEFINED): ADDED_SCORE,
    }
    last = len(rank) + 1
    return [fixed.get(kind, -float(rank.get(token, last))) for token, kind in zip(tokens, types, strict=True)]
