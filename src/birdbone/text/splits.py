"""Token windows, split by whole document: calibration and healing / guard / test.

Legend: N windows, T tokens per window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from birdbone.errors import TextError
from birdbone.text.sources import Document

Encode = Callable[[str], list[int]]
HEAL_SHARES = {"heal": 0.8, "guard": 0.1, "test": 0.1}
"""Parts of the text that a model learns from: calibration and healing read ``heal``."""
JOB_SHARES = {"heal": 0.6, "guard": 0.2, "test": 0.2}
"""The same of a job's text, which judges too."""


def share_of(title: str, random_seed: int) -> float:
    """A document's place in [0, 1), fixed by its title and the seed."""
    sha = hashlib.sha256(
        f"{random_seed}|{title}".encode(errors="surrogatepass")
    ).digest()  # of any file's name
    return int.from_bytes(sha[:8], "big") / 2**64


def split_documents(
    documents: Iterable[Document], random_seed: int, shares: dict[str, float]
) -> dict[str, list[Document]]:
    """Whole documents to named parts by ``share_of``; shares sum to 1."""
    parts: dict[str, list[Document]] = {name: [] for name in shares}
    for document in sorted(documents, key=lambda d: share_of(d.title, random_seed)):
        place = share_of(document.title, random_seed)
        edge = 0.0
        for name, share in shares.items():
            edge += share
            if place < edge:
                parts[name].append(document)
                break
    return parts


def job_parts(documents: Iterable[Document], random_seed: int) -> dict[str, list[Document]]:
    """A job's whole documents to ``JOB_SHARES``, or to the parts that they say themselves.

    By their rank in ``share_of``, so that few documents too have about these shares.
    """
    ranked = sorted(documents, key=lambda d: share_of(d.title, random_seed))
    if any(document.part for document in ranked):
        return {name: [d for d in ranked if d.part == name] for name in JOB_SHARES}
    held = round(JOB_SHARES["guard"] * len(ranked))
    edge = len(ranked) - 2 * held
    return {
        "heal": ranked[:edge],
        "guard": ranked[edge : edge + held],
        "test": ranked[edge + held :],
    }


def learning_parts(
    documents: Iterable[Document], job: bool, random_seed: int
) -> dict[str, list[Document]]:
    """The parts of the text that a model learns from: a job's, or those of ``HEAL_SHARES``."""
    if job:
        return job_parts(documents, random_seed)
    return split_documents(documents, random_seed, HEAL_SHARES)


def packed_windows(
    documents: list[Document],
    encode: Encode,
    tokens: int,
    window: int,
    label: str,
    skip: int = 0,
    separator: int | None = None,
    lower: str | None = None,
) -> Tensor:
    """Documents end to end, ``separator`` between them, cut into windows [N, T].

    skip: windows to leave out at the start. lower: the setting to lower where text is short, if it
    is not ``text.<label>_tokens``. Raises TextError naming it when there is too little text.
    """
    needed = (skip + -(-tokens // window)) * window
    stream: list[int] = []
    for document in documents:
        stream += encode(document.text) + ([] if separator is None else [separator])
        if len(stream) >= needed:
            break
    if len(stream) < needed:
        raise TextError(
            f"text too short for {label}: {needed} tokens asked, {len(stream)} there in "
            f"{len(documents)} whole documents. Give more text, in ten documents or more, or lower "
            f"{lower or f'text.{label}_tokens'}"
        )
    return torch.tensor(stream[skip * window : needed], dtype=torch.int32).view(-1, window)


def document_windows(
    documents: list[Document], encode: Encode, tokens: int, window: int, label: str, domain: str
) -> tuple[Tensor, Tensor]:
    """Windows that never cross a document: [N, T] and the document's number per window [N].

    Takes one window from each document in turn until ``tokens`` are reached, so that many documents
    count. Raises TextError naming the domain and the setting when there is too little text.
    """
    count = -(-tokens // window)
    cut: list[list[list[int]]] = []
    for document in documents:
        ids = encode(document.text)
        cut.append([ids[i : i + window] for i in range(0, len(ids) - window + 1, window)])
        if sum(1 for windows in cut if windows) >= count:
            break
    rows = [
        (d, depth, windows[depth]) for d, windows in enumerate(cut) for depth in range(len(windows))
    ]
    rows = sorted(rows, key=lambda row: (row[1], row[0]))[:count]
    if len(rows) < count:
        raise TextError(
            f"text too short for {label}: {count} windows of {window} tokens asked, "
            f"{len(rows)} there in the {len(documents)} documents of {domain} that are for it. "
            f"Give more text, in more documents, or lower text.{label}_tokens or text.window"
        )
    if len({row[0] for row in rows}) < 2:
        raise TextError(
            f"text for {label}: {domain} needs at least two documents of {window} tokens, found one"
        )
    ids = torch.tensor([row[2] for row in rows], dtype=torch.int32)
    return ids, torch.tensor([row[0] for row in rows], dtype=torch.int32)


def excerpt_windows(
    documents: list[Document],
    encode: Encode,
    tokens: int,
    window: int,
    label: str,
    separator: int | None = None,
) -> Tensor:
    """Windows [N, T] from the middle of as many documents as possible.

    Takes one stretch of T tokens from each document in turn, then the stretch after it. Documents
    shorter than a stretch follow each other, ``separator`` between them. Raises TextError naming
    the text set when there is too little text.
    """
    needed = -(-tokens // window) * window
    cut: list[list[list[int]]] = []
    first = 0
    for document in documents:
        if first >= needed:
            break
        ids = encode(document.text)
        stretches = [ids[i : i + window] for i in range(0, len(ids), window)]
        whole = [s for s in stretches if len(s) == window] or stretches
        cut.append(whole[len(whole) // 2 :] + whole[: len(whole) // 2])
        first += len(whole[len(whole) // 2]) if whole else 0
    stream: list[int] = []
    for depth in range(max(map(len, cut), default=0)):
        for stretches in cut:
            if depth < len(stretches) and len(stream) < needed:
                ended = separator is not None and len(stretches[depth]) < window
                stream += stretches[depth] + ([separator] if ended else [])
    if len(stream) < needed:
        raise TextError(
            f"text too short for {label}: {needed} tokens asked, {len(stream)} there. "
            f"Give more text or lower {label}"
        )
    return torch.tensor(stream[:needed], dtype=torch.int32).view(-1, window)
