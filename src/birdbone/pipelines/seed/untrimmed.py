"""The text that judges, read by the untrimmed seed with its own tokenizer."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor, nn

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.model.head import Head
from birdbone.model.judging.evaluate import losses
from birdbone.model.judging.reference import Reading, Readings
from birdbone.model.judging.trace import traced_rows, vocabulary_kl
from birdbone.model.network import build
from birdbone.model.vocabulary import reread
from birdbone.pipelines.inputs import Compute
from birdbone.text.texts import Texts

BY_NUMBER = "as many tokens, by their number"


def read_untrimmed(
    source: Checkpoint,
    source_tokenizer_folder: Path,
    tokenizer_folder: Path,
    texts: Texts,
    trace_tokens: int,
    compute: Compute,
) -> tuple[Readings, dict]:
    """(the untrimmed seed's loss on every window's text, what the smaller vocabulary costs there).

    A window's text is what its tokens spell. Both models leave out the first token, of which the
    untrimmed seed's may hold more of the text. This favours the untrimmed seed.
    """
    whole = read_tokenizer(source_tokenizer_folder)
    trimmed = read_tokenizer(tokenizer_folder)
    ours = set(trimmed.get_vocab())
    known = torch.tensor([i for token, i in whole.get_vocab().items() if token in ours])
    network = build(source, compute.place)
    splits: dict[str, dict[str, Reading]] = {}
    report: dict[str, dict] = {}
    traced: list[Tensor] = []
    for split, domains in (("guard", texts.guard), ("test", texts.test)):
        splits[split] = {}
        for name, domain in domains.items():
            encoded = reread(domain.windows, trimmed, whole)
            nll = text_losses(network, encoded, f"untrimmed seed: {split}.{name}")
            scored = torch.tensor([len(ids) - 1 for ids in encoded], dtype=torch.float64)
            splits[split][name] = Reading(nll, scored)
            if split == "guard":
                rows = traced_rows(domain, trace_tokens // len(domains))
                traced += [encoded[row] for row in rows]
            else:
                every = torch.cat(encoded)
                report[name] = {
                    "tokens": len(every),
                    "tokens_trimmed": domain.windows.numel(),
                    "lost": 1 - float(torch.isin(every, known).double().mean()),
                    "bytes": sum(len(text.encode()) for text in whole.batch_decode(encoded)),
                }
    head = Head.of(source).to(compute.place).sharing(network)
    trace = _trace(network, head, whole, known, traced)
    return Readings(splits), {"domains": report, "trace": [trace]}


def _trace(network: nn.Module, head: Head, tokenizer, kept: Tensor, encoded: list[Tensor]) -> dict:
    """The row of the vocabulary. Control: as many tokens by their number, which is how often they
    came up in the tokenizer's own text.
    """
    numbered = torch.tensor(sorted(tokenizer.get_vocab().values())[: len(kept)])
    ours, control = vocabulary_kl(network, head, [kept, numbered], encoded, "vocabulary")
    return {"step": "vocabulary", "kl": ours, "control": {"what": BY_NUMBER, "kl": control}}


def text_losses(network: nn.Module, encoded: list[Tensor], label: str) -> Tensor:
    """Summed loss of each sequence [N], those of one length together."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, ids in enumerate(encoded):
        by_length[len(ids)].append(number)
    nll = torch.zeros(len(encoded), dtype=torch.float64)
    for numbers in by_length.values():
        nll[numbers] = losses(network, torch.stack([encoded[n] for n in numbers]), label)
    return nll
