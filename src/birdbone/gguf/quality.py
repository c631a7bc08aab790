"""How good a GGUF file is in llama.cpp, beside the first one measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from birdbone.algo.perplexity import perplexity
from birdbone.gguf import llamacpp
from birdbone.model.judging.evaluate import kl_divergence


def quality(path: Path, rows: dict[str, Tensor], reference: Path, threads: int | None = None) -> dict:
    """``perplexity`` per domain, ``kl`` (nats per token) and ``top1`` against the first file
    measured.

    rows: domain -> windows [N, T]; reference: a folder, where the first call leaves its logits for
    those after it (they are windows x T x vocabulary floats, too many for memory).
    """
    perplexities, kl, agree, count = {}, 0.0, 0.0, 0
    for number, (domain, windows) in enumerate(rows.items()):
        nll = 0.0
        windows_logits = llamacpp.logits_of(path, windows.tolist(), kv="f16", threads=threads)
        for i, (ids, rows) in enumerate(zip(windows.long(), windows_logits, strict=True)):
            kept = reference / f"logits-{number}-{i}.npy"
            if not kept.is_file():
                np.save(kept, rows)
            logits, theirs = torch.from_numpy(rows), torch.from_numpy(np.load(kept, mmap_mode="c"))
            nll += float(torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum"))
            kl += float(kl_divergence(logits[:-1], theirs[:-1]).sum())
            agree += float((logits[:-1].argmax(-1) == theirs[:-1].argmax(-1)).sum())
            count += len(ids) - 1
        perplexities[domain] = perplexity(torch.tensor(nll), windows.numel() - len(windows))
    return {"perplexity": perplexities, "kl": kl / count, "top1": agree / count}
