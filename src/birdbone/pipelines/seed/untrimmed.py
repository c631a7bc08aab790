"""The text that judges, read by the untrimmed seed with its own tokenizer."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.model.judging.evaluate import losses
from birdbone.model.judging.reference import Reading, Readings
from birdbone.model.network import build
from birdbone.pipelines.inputs import Compute
from birdbone.text.texts import Texts

PARTIAL = "\ufffd"
"""What a character becomes that a window's edge cuts."""


def read_untrimmed(
    source: Checkpoint,
    source_tokenizer_folder: Path,
    tokenizer_folder: Path,
    texts: Texts,
    compute: Compute,
) -> tuple[Readings, dict]:
    """(the untrimmed seed's loss on every window's text, what the smaller vocabulary costs there).

    A window's text is what its tokens spell. Both models leave out the first token, of which the
    untrimmed seed's may hold more of the text. This favours the untrimmed seed.
    """
    whole = read_tokenizer(source_tokenizer_folder)
    trimmed = read_tokenizer(tokenizer_folder)
    ours = set(trimmed.get_vocab())
    known = {i for token, i in whole.get_vocab().items() if token in ours}
    network = build(source, compute.place)
    splits: dict[str, dict[str, Reading]] = {}
    report: dict[str, dict] = {}
    for split, domains in (("guard", texts.guard), ("test", texts.test)):
        splits[split] = {}
        for name, domain in domains.items():
            strings = trimmed.batch_decode(domain.windows, clean_up_tokenization_spaces=False)
            encoded = [
                whole(s.strip(PARTIAL), add_special_tokens=False, verbose=False).input_ids
                for s in strings
            ]
            nll = _losses(network, encoded, f"untrimmed seed: {split}.{name}")
            scored = torch.tensor([len(ids) - 1 for ids in encoded], dtype=torch.float64)
            splits[split][name] = Reading(nll, scored)
            if split == "test":
                report[name] = {
                    "tokens": sum(map(len, encoded)),
                    "tokens_trimmed": domain.windows.numel(),
                    "lost": sum(i not in known for ids in encoded for i in ids)
                    / sum(map(len, encoded)),
                    "bytes": sum(len(s.encode()) for s in strings),
                }
    return Readings(splits), report


def _losses(network, encoded: list[list[int]], label: str) -> Tensor:
    """Summed loss of each sequence [N], those of one length together."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, ids in enumerate(encoded):
        by_length[len(ids)].append(number)
    nll = torch.zeros(len(encoded), dtype=torch.float64)
    for numbers in by_length.values():
        nll[numbers] = losses(network, torch.tensor([encoded[n] for n in numbers]), label)
    return nll
