"""How good a GGUF file is in llama.cpp, beside the first one measured."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.gguf import llamacpp
from birdbone.model.evaluate import kl_divergence

Logits = dict[str, list[Tensor]]


def quality(path: Path, rows: dict[str, Tensor], reference: Logits, threads: int | None = None) -> dict:
    """``perplexity`` per domain, ``kl`` (nats per token) and ``top1`` against ``reference``.

    rows: domain -> windows [N, T]. The first call fills an empty ``reference`` with its logits.
    """
    first = not reference
    perplexities, kl, agree, count = {}, 0.0, 0.0, 0
    for domain, windows in rows.items():
        nll = 0.0
        for i, ids in enumerate(windows.long()):
            logits = torch.from_numpy(llamacpp.logits(path, ids.tolist(), kv="f16", threads=threads))
            nll += float(torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum"))
            if first:
                reference.setdefault(domain, []).append(logits)
            theirs = reference[domain][i]
            kl += float(kl_divergence(logits[:-1], theirs[:-1]).sum())
            agree += float((logits[:-1].argmax(-1) == theirs[:-1].argmax(-1)).sum())
            count += len(ids) - 1
        perplexities[domain] = perplexity(torch.tensor(nll), windows.numel() - len(windows))
    return {"perplexity": perplexities, "kl": kl / count, "top1": agree / count}
