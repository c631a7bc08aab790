"""A seed that has the job's tokens alone."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError

from birdbone.errors import ConfigError
from birdbone.model.checkpoint import Checkpoint, tensors_digest
from birdbone.model.device import read_tokenizer
from birdbone.model.generation import end_tokens
from birdbone.model.vocabulary import TOKENIZER, kept_ids, named_ids, with_tokens, write_tokenizer
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.pipelines.seed.settings.vocabulary import TEXT, VocabularySettings
from birdbone.progress import track
from birdbone.text.merges import closed
from birdbone.text.sources import documents
from birdbone.text.splits import learning_parts

PROBE = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
"""A conversation in which only the chat template speaks."""
BATCH = 64
"""Documents encoded at once."""
log = logging.getLogger("birdbone")


@dataclass(frozen=True)
class Source(Together):
    """The model as it came, before any token went."""

    model: Checkpoint
    tokenizer_folder: Path
    about: dict


def trim_vocabulary(
    source: Source, settings: VocabularySettings, text: TextSettings, random_seed: int
) -> tuple[Checkpoint, Callable[[Path], None], dict, dict]:
    """(the seed with fewer tokens, its tokenizer, where both came from, which tokens are left).

    Tokens are counted in the documents of ``text.source`` that calibration and healing may read.
    The kept text encodes to the same tokens. Raises ConfigError where ``vocabulary.keep`` leaves no
    room for what must stay, or is a file without a token that the text has often enough.
    """
    folder = source.tokenizer_folder
    tokenizer = read_tokenizer(folder)
    data = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    ends = end_tokens(folder, tokenizer)
    named = {*named_ids(source.model.config), *tokenizer.all_special_ids, *ends}
    must = closed(data, _template_tokens(tokenizer) | _spelt(tokenizer, named))
    file = None if settings.keep == TEXT or isinstance(settings.keep, int) else settings.keep
    listed = _listed(Path(file), tokenizer.get_vocab()) if file else set()
    counted = count_tokens(tokenizer, text, random_seed)
    enough = {token for token, n in counted.items() if n >= settings.at_least}
    if file:
        kept = closed(data, must | listed)
        _check_enough(file, enough - kept, counted)
    elif settings.keep == TEXT:
        kept = closed(data, must | enough)
    else:
        kept = _most_frequent(data, must, counted, settings.keep)
    ids = kept_ids(folder, kept)
    checkpoint = with_tokens(source.model, ids)
    spelt = {number: token for token, number in tokenizer.get_vocab().items()}
    gone = sorted(spelt.keys() - set(ids.tolist()))
    met = sum(n for token, n in counted.items() if token in kept) / max(1, sum(counted.values()))
    log.info(
        "vocabulary: %s of %s tokens are kept, %s of those that the text has",
        f"{len(ids):,}",
        f"{len(spelt):,}",
        f"{met:.2%}",
    )
    about = {
        **source.about,
        "digest": checkpoint.digest,
        "parameters": checkpoint.parameters,
        "tensors": tensors_digest(checkpoint.weights),
        "trimmed_from": {
            "digest": source.about["digest"],
            "parameters": source.about["parameters"],
            "tokens": [len(ids), len(spelt)],
        },
    }
    report = {
        "tokens": len(ids),
        "of": len(spelt),
        "keep": settings.keep,
        "counted": sum(counted.values()),
        "met": met,
        "kept_ids": ids.tolist(),
        "removed": [spelt[i] for i in gone],
    }
    return checkpoint, lambda place: write_tokenizer(folder, place, kept), about, report


def _template_tokens(tokenizer) -> set[str]:
    """What the chat template itself writes."""
    if not tokenizer.chat_template:
        return set()
    try:
        ids = tokenizer.apply_chat_template(PROBE, tokenize=True, return_dict=False)
    except (TemplateError, TypeError, ValueError):
        return set()  # it refuses this conversation
    return _spelt(tokenizer, ids)


def _spelt(tokenizer, ids: Iterable[int]) -> set[str]:
    """The tokens of these ids; an id beyond the tokenizer's has none."""
    return set(tokenizer.convert_ids_to_tokens([i for i in ids if i < len(tokenizer)]))


def count_tokens(tokenizer, text: TextSettings, random_seed: int) -> Counter[str]:
    """How often each token occurs in what calibration and healing may read."""
    parts = learning_parts(documents(text.source), text.excerpts, random_seed)
    texts = [document.text for document in parts["heal"]]
    backend = tokenizer.backend_tokenizer
    counts: Counter[int] = Counter()
    for start in track(range(0, len(texts), BATCH), "count tokens", unit="batch"):
        for encoded in backend.encode_batch(texts[start : start + BATCH], add_special_tokens=False):
            counts.update(encoded.ids)
    spelt = {number: token for token, number in tokenizer.get_vocab().items()}
    return Counter({spelt[i]: n for i, n in counts.items()})


def _most_frequent(data: dict, must: set[str], counted: Counter[str], size: int) -> set[str]:
    """``size`` tokens at most: what must stay, then the most frequent with what makes them."""
    if size < len(must):
        raise ConfigError(
            f"parameter vocabulary.keep: {size} tokens, but bytes, special tokens and the chat "
            f"template need {len(must)}. Keep more"
        )
    ranked = sorted(counted, key=lambda token: (-counted[token], token))
    few, many = 0, len(ranked)
    while few < many:
        middle = (few + many + 1) // 2
        if len(closed(data, must | set(ranked[:middle]))) <= size:
            few = middle
        else:
            many = middle - 1
    return closed(data, must | set(ranked[:few]))


def _check_enough(file: str, missing: set[str], counted: Counter[str]) -> None:
    """Raises ConfigError where a file of tokens leaves out some that the text needs."""
    if missing:
        most = sorted(missing, key=lambda token: (-counted[token], token))
        named = ", ".join(f"{token!r} ({counted[token]:,} times)" for token in most[:5])
        raise ConfigError(
            f"parameter vocabulary.keep: {file} leaves out {len(missing):,} tokens that the text "
            f"has: {named}. Add them, or raise vocabulary.at_least"
        )


def _listed(path: Path, vocabulary: dict[str, int]) -> set[str]:
    """The tokens of a file, one a line as ``tokenizer.json`` spells it."""
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, token in enumerate(lines, 1):
        if token and token not in vocabulary:
            raise ConfigError(
                f"parameter vocabulary.keep: {path}, line {number}: {token!r} is no token of this "
                "model. Spell it as its tokenizer.json does"
            )
    return set(filter(None, lines))
