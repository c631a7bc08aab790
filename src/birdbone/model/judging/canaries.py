"""Canaries: how sure a network is of the right answer to a short prompt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from birdbone.progress import track
from birdbone.text.canaries import Canary


@torch.no_grad()
def score_canaries(network: nn.Module, tokenizer, canaries: list[Canary]) -> dict[str, dict[str, float]]:
    """Per domain ``accuracy`` (right answer likeliest) and ``margin`` (nats per token over the best
    wrong one).

    An answer's score is its mean log-likelihood per token after the prompt, whose beginning is left
    out where the model's context is too short for it.
    """
    device = next(network.parameters()).device
    domains: dict[str, list[tuple[float, float]]] = {}
    for canary in track(canaries, "canaries", unit="prompt"):
        scores = _answer_scores(network, tokenizer, canary, device)
        margin = scores[0] - max(scores[1:])
        domains.setdefault(canary.domain, []).append((float(margin > 0), margin))
    return {
        d: {
            "accuracy": sum(a for a, _ in v) / len(v),
            "margin": sum(m for _, m in v) / len(v),
            "prompts": len(v),
        }
        for d, v in domains.items()
    }


def _answer_scores(network: nn.Module, tokenizer, canary: Canary, device) -> list[float]:
    """Mean log-likelihood per token of each answer; one padded batch (causal attention never sees
    the padding).
    """
    head = tokenizer(canary.prompt, add_special_tokens=False).input_ids
    tails = [tokenizer(answer, add_special_tokens=False).input_ids for answer in canary.answers]
    longest = max(map(len, tails))
    head = head[-max(1, network.config.max_position_embeddings - longest) :]
    ids = torch.tensor([head + tail + [0] * (longest - len(tail)) for tail in tails], device=device)
    logits = network(ids, use_cache=False).logits[:, len(head) - 1 : -1].float()
    return [
        -F.cross_entropy(row[: len(tail)], torch.tensor(tail, device=device)).item()
        for row, tail in zip(logits, tails, strict=True)
    ]
