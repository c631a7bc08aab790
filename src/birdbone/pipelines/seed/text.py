"""The text that everything is measured on, in token windows."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from birdbone.errors import TextError
from birdbone.model.device import read_tokenizer
from birdbone.pipelines.seed.mix import written_places
from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.text.dialogue import check_chat
from birdbone.text.sources import Document, documents
from birdbone.text.splits import (
    HEAL_SHARES,
    Encode,
    document_windows,
    excerpt_windows,
    learning_parts,
    packed_windows,
    split_documents,
)
from birdbone.text.texts import Domain, Texts

DOMAIN_SHARES = {"guard": 0.5, "test": 0.5}
CHECK = 4
"""Windows of the healing text that nothing learns from."""
FEW = 8
"""Documents below which a bootstrap over them says little."""
log = logging.getLogger("birdbone")


def read_text(
    tokenizer_folder: Path,
    text: TextSettings,
    specialise: dict[str, str] | None,
    random_seed: int,
) -> Texts:
    """Token windows for calibration and healing, less what the seed will write, guard and test.

    A whole document goes to one split, by a hash of its title. Only the report reads test. A domain
    that is also the healing text's source has guard and test documents that healing does not read.
    Domains elsewhere have test text only. The job's text is called by the job's name. Raises
    TextError where guard or test text is among the documents that healing reads.
    """
    tokenizer = read_tokenizer(tokenizer_folder)

    def encode(string: str) -> list[int]:
        return tokenizer(string, add_special_tokens=False, verbose=False).input_ids

    def chat(messages: list[dict]) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False)

    if text.chat:
        check_chat(tokenizer)
    window = text.window
    end = tokenizer.eos_token_id
    template = chat if text.chat else None
    parts = learning_parts(documents(text.source, template), text.excerpts, random_seed)
    chosen_by = _chosen_by(parts, encode, text)
    check = _learnt_from(chosen_by, encode, {"check": CHECK}, text, end)["check"]
    counts = {name: int((~by_seed).sum()) for name, by_seed in written_places(text).items()}
    learnt = [document for document in parts["heal"] if document not in chosen_by]
    windows = _learnt_from(learnt, encode, counts, text, end)
    windows_read = sum(counts.values())
    guard: dict[str, Domain] = {}
    test: dict[str, Domain] = {}
    healing = {document.text for document in parts["heal"]} if windows_read else set()
    checking = {document.text for document in chosen_by}
    called = {source: job for job, source in (specialise or {}).items()}
    tokens = {"guard": text.guard_tokens, "test": text.test_tokens}
    for domain in text.elsewhere:
        unseen = split_documents(documents(domain, template), random_seed, DOMAIN_SHARES)
        test[domain] = Domain(
            *document_windows(unseen["test"], encode, text.test_tokens, window, "test", domain)
        )
    for domain in text.guard_domains:
        if domain != text.source:
            unseen = split_documents(documents(domain, template), random_seed, DOMAIN_SHARES)
        elif windows_read:
            seen = healing | checking
            unseen = {n: [d for d in parts[n] if d.text not in seen] for n in DOMAIN_SHARES}
        else:
            unseen = split_documents(
                parts["heal"], random_seed, {n: HEAL_SHARES["heal"] / 2 for n in DOMAIN_SHARES}
            )
        label = called.get(domain, domain)
        for name, domains in (("guard", guard), ("test", test)):
            part = unseen[name]
            ids, numbers = document_windows(part, encode, tokens[name], window, name, domain)
            domains[label] = Domain(ids, numbers)
            drawn = [part[i] for i in numbers.unique()]
            if any(document.text in healing for document in drawn):
                raise TextError(
                    f"parameter text.guard_domains: {domain} holds documents that text.source "
                    f"({text.source}) gives to healing, so that it would judge by what was learnt. "
                    "Give other text, or the very same source"
                )
            if len(drawn) < FEW:
                log.warning(
                    "%s text %s is of %d documents only: its intervals are rough",
                    name,
                    domain,
                    len(drawn),
                )
    return Texts(
        windows["calibration"],
        windows["heal"],
        check,
        guard,
        test,
        [called.get(domain, domain) for domain in text.guard_domains],
        text.source,
        window,
        elsewhere=tuple(text.elsewhere),
    )


def _learnt_from(
    documents: list[Document],
    encode: Encode,
    counts: dict[str, int],
    text: TextSettings,
    end: int | None,
) -> dict[str, Tensor]:
    """Windows of each name, one after the other, so many of each: the first documents', end to end,
    or a stretch from every document in turn.
    """
    window = text.window
    total = sum(counts.values())
    if text.excerpts:
        label = " + ".join(f"text.{name}_tokens" for name in counts)
        rows = excerpt_windows(documents, encode, total * window, window, label, end)
        return dict(zip(counts, rows.split(list(counts.values())), strict=True))
    windows: dict[str, Tensor] = {}
    read = 0
    for name, count in counts.items():
        lower = "text.window" if name == "check" else None
        windows[name] = packed_windows(
            documents, encode, count * window, window, name, read, end, lower
        )
        read += count
    return windows


def _chosen_by(
    parts: dict[str, list[Document]], encode: Encode, text: TextSettings
) -> list[Document]:
    """The documents that check text is cut from: the first that the guard may read.

    Of a job's they are a quarter of those at most, and where that is none, the last one that
    healing would have read.
    """
    if text.excerpts:
        few = min(CHECK, len(parts["guard"]) // 4)
        return parts["guard"][:few] if few else parts["heal"][-1:]
    taken = []
    needed = CHECK * text.window
    for document in parts["guard"]:
        if needed <= 0:
            break
        taken.append(document)
        needed -= len(encode(document.text)) + 1
    return taken
