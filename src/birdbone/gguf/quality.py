"""How good a GGUF file is in llama.cpp, beside the first one measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.gguf import llamacpp
from birdbone.model.judging.evaluate import kl_divergence


def quality(
    path: Path,
    rows: dict[str, Sequence[Tensor]],
    reference: Path,
    threads: int | None = None,
    tokens: dict[str, int] | None = None,
) -> dict:
    """``perplexity`` per domain, ``kl`` (nats per token) and ``top1`` against the first file
    measured.

    rows: domain -> windows of token ids; reference: a folder, where the first call leaves its
    logits for those after it (they are windows x T x vocabulary floats, too many for memory).
    tokens: what a domain's perplexity is per, where another tokenizer counts; None: those scored.
    """
    perplexities, kl, agree, count = {}, 0.0, 0.0, 0
    for number, (domain, windows) in enumerate(rows.items()):
        nll = 0.0
        plain = [ids.tolist() for ids in windows]
        windows_logits = llamacpp.logits_of(path, plain, kv="f16", threads=threads)
        for i, (ids, rows) in enumerate(zip(windows, windows_logits, strict=True)):
            ids = ids.long()
            kept = reference / f"logits-{number}-{i}.npy"
            if not kept.is_file():
                np.save(kept, rows)
            logits, theirs = torch.from_numpy(rows), torch.from_numpy(np.load(kept, mmap_mode="c"))
            nll += float(torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum"))
            kl += float(kl_divergence(logits[:-1], theirs[:-1]).sum())
            agree += float((logits[:-1].argmax(-1) == theirs[:-1].argmax(-1)).sum())
            count += len(ids) - 1
        scored = sum(len(ids) - 1 for ids in plain)
        perplexities[domain] = perplexity(torch.tensor(nll), (tokens or {}).get(domain, scored))
    return {"perplexity": perplexities, "kl": kl / count, "top1": agree / count}
