"""What a network does with token windows: loss, divergence from the seed, canaries, text.

Legend: B windows, T tokens, V vocabulary. Position t is scored on token t + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from jinja2 import TemplateError
from torch import Tensor, nn

from birdbone.errors import TextError
from birdbone.progress import track
from birdbone.text.canaries import Canary

POSITIONS = 32
"""Positions compared at once."""


@torch.no_grad()
def losses(network: nn.Module, windows: Tensor, label: str = "evaluate") -> Tensor:
    """Summed negative log-likelihood of each window (nats, float64) [N]; T - 1 tokens count."""
    device = next(network.parameters()).device
    out = []
    for ids in track(windows.split(2), label, unit="window pairs"):
        ids = ids.to(device).long()
        logits = network(ids, use_cache=False).logits
        out.append(window_nll(logits, ids))
    return torch.cat(out)


@torch.no_grad()
def compare(
    network: nn.Module, seed_logits: Callable[[slice], Tensor], windows: Tensor, label: str = "compare"
) -> dict[str, Tensor]:
    """Per window, summed over its T - 1 scored positions [N], float64:

    ``nll`` and ``seed_nll`` (nats), ``kl`` = KL(seed || network) (nats), ``agree`` = equal top-1 tokens.
    seed_logits: some of the windows, as rows -> the seed's logits [rows, T, V] on the network's device.
    """
    device = next(network.parameters()).device
    rows = []
    for start in track(range(0, len(windows), 2), label, unit="window pairs"):
        chosen = slice(start, start + 2)
        ids = windows[chosen].to(device).long()
        ours, theirs = network(ids, use_cache=False).logits, seed_logits(chosen)
        rows += [_scored(*one) for one in zip(ours, theirs, ids, strict=True)]
    return dict(zip(("nll", "seed_nll", "kl", "agree"), torch.stack(rows, 1).cpu(), strict=True))


def _scored(ours: Tensor, theirs: Tensor, ids: Tensor) -> Tensor:
    """nll, seed_nll, kl and agree of one window's logits [T, V] twice: [4], float64.

    A few positions at a time, so that what is made of their logits stays in the processor's cache.
    """
    sums = ids.new_zeros(4, dtype=torch.float64)
    for part in torch.arange(len(ids) - 1).split(POSITIONS):
        rows = slice(int(part[0]), int(part[-1]) + 1)
        o, t = (F.log_softmax(logits[rows].float(), -1) for logits in (ours, theirs))
        target = ids[1:][rows, None]
        sums[0] -= o.gather(1, target).sum(dtype=torch.float64)
        sums[1] -= t.gather(1, target).sum(dtype=torch.float64)
        sums[3] += (o.argmax(-1) == t.argmax(-1)).sum()
        sums[2] += t.exp().mul_(t - o).sum(-1).sum(dtype=torch.float64)
    return sums


def kl_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) per position from logits [..., V] -> [...], in nats."""
    s, t = F.log_softmax(student.float(), -1), F.log_softmax(teacher.float(), -1)
    return F.kl_div(s, t, log_target=True, reduction="none").sum(-1)


@torch.no_grad()
def score_canaries(network: nn.Module, tokenizer, canaries: list[Canary]) -> dict[str, dict[str, float]]:
    """Per domain ``accuracy`` (right answer likeliest) and ``margin`` (nats per token over the best wrong one).

    An answer's score is its mean log-likelihood per token after the prompt, whose beginning is left out where the
    model's context is too short for it.
    """
    device = next(network.parameters()).device
    domains: dict[str, list[tuple[float, float]]] = {}
    for canary in track(canaries, "canaries", unit="prompt"):
        scores = _answer_scores(network, tokenizer, canary, device)
        margin = scores[0] - max(scores[1:])
        domains.setdefault(canary.domain, []).append((float(margin > 0), margin))
    return {
        d: {"accuracy": sum(a for a, _ in v) / len(v), "margin": sum(m for _, m in v) / len(v), "prompts": len(v)}
        for d, v in domains.items()
    }


@torch.no_grad()
def generate(network: nn.Module, tokenizer, prompt: str, ends: Collection[int], tokens: int = 48) -> str:
    """Greedy continuation of a prompt, to one of the tokens in ``ends`` or the end of the context.

    Raises TextError as ``prompt_ids`` does.
    """
    positions = network.config.max_position_embeddings
    given = prompt_ids(tokenizer, prompt, positions)
    ids, start = torch.tensor([given], device=next(network.parameters()).device), len(given)
    for _ in range(min(tokens, positions - start + 1)):
        following = network(ids, use_cache=False).logits[0, -1].argmax()
        if following.item() in ends:
            break
        ids = torch.cat([ids, following.view(1, 1)], dim=1)
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def prompt_ids(tokenizer, prompt: str, positions: int) -> list[int]:
    """The token ids of a plain question, through the chat template where the tokenizer has one.

    Raises TextError where the template refuses it, or where it is empty or does not fit the model's positions.
    """
    text = prompt
    if tokenizer.chat_template:
        try:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise TextError(
                f"parameter report.prompts: the model's chat template refuses a plain question ({error}). Mend or "
                "remove it in the model's folder, or set report.prompts: []"
            ) from error
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    if not 0 < len(ids) <= positions:
        raise TextError(
            f"parameter report.prompts: {prompt!r} comes to {len(ids)} tokens, the model has {positions} positions"
        )
    return ids


def window_nll(logits: Tensor, ids: Tensor) -> Tensor:
    """Summed negative log-likelihood of each window, nats [B] float64, from logits [B, T, V].

    One window at a time, to bound memory.
    """
    rows = [
        F.cross_entropy(row[:-1].float(), target[1:], reduction="sum") for row, target in zip(logits, ids, strict=True)
    ]
    return torch.stack(rows).double().cpu()


def _answer_scores(network: nn.Module, tokenizer, canary: Canary, device) -> list[float]:
    """Mean log-likelihood per token of each answer; one padded batch (causal attention never sees the padding)."""
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
