"""Perplexity, its change against a reference, divergence: from per-window sums to figures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from birdbone.algo.bootstrap import mean_interval, ratio_interval


def perplexity(nll: Tensor, tokens: float) -> float:
    """exp(mean negative log-likelihood) from window sums [N] in nats and the scored tokens."""
    return math.exp(float(nll.sum()) / tokens)


def domain_figures(
    measured: dict[str, Tensor],
    documents: Tensor,
    scored: int,
    random_seed: int,
    reference_tokens: Tensor | None = None,
) -> dict[str, float]:
    """One domain's figures from window sums [N] as ``model.judging.evaluate.compare`` gives them.

    documents: the document of each window [N]; scored: tokens scored per window. ``change`` is the
    relative perplexity change against the seed, with a 95 % bootstrap interval over documents;
    ``kl`` in nats per token; ``top1`` the share of positions with the seed's own first choice.
    reference_tokens: the untrimmed seed's tokens of each window [N], which losses are per; None:
    ``scored``.
    """
    count = scored * len(documents)
    per_document = {name: by_document(values, documents) for name, values in measured.items()}
    tokens = by_document(
        torch.full((len(documents),), float(scored), dtype=torch.float64), documents
    )
    per = tokens if reference_tokens is None else by_document(reference_tokens, documents)
    change, low, high = ratio_interval(
        per_document["seed_nll"], per_document["nll"], per, seed=random_seed
    )
    kl, kl_low, kl_high = mean_interval(per_document["kl"], tokens, seed=random_seed)
    return {
        "perplexity": perplexity(measured["nll"], float(per.sum())),
        "seed_perplexity": perplexity(measured["seed_nll"], float(per.sum())),
        "change": change,
        "change_low": low,
        "change_high": high,
        "kl": kl,
        "kl_low": kl_low,
        "kl_high": kl_high,
        "top1": float(measured["agree"].sum()) / count,
        "tokens": count,
        "documents": len(documents.unique()),
        "document_nll": per_document["nll"].tolist(),
        "document_tokens": per.tolist(),
    }


def worst_change(domains: dict[str, dict], control: dict[str, dict] | None) -> tuple[str, float]:
    """The domain with the largest perplexity change, against the better of seed and control."""
    changes = {}
    for name, figures in domains.items():
        reference = figures["seed_perplexity"]
        if control:
            reference = min(reference, control[name]["perplexity"])
        changes[name] = figures["perplexity"] / reference - 1
    name = max(changes, key=changes.__getitem__)
    return name, changes[name]


def judged_change(figures: dict, control: dict | None, random_seed: int) -> list[float]:
    """[change, low, high] of one domain against the better of seed and control.

    Paired over documents.
    """
    if not judges(control, figures["seed_perplexity"]):
        return [figures["change"], figures["change_low"], figures["change_high"]]
    return list(
        ratio_interval(
            control["document_nll"],
            figures["document_nll"],
            figures["document_tokens"],
            seed=random_seed,
        )
    )


def judges(control: dict | None, seed_perplexity: float) -> bool:
    """Whether a domain is judged against the control, since that is better than the seed."""
    return bool(control) and control["perplexity"] < seed_perplexity


def bound_of(
    figures: dict, control: dict | None, errors: float, random_seed: int
) -> tuple[float, float]:
    """(change, bound) of one domain, judged as ``judged_change`` does.

    The bound is the change plus ``errors`` times its standard error. The standard error is a
    quarter of the 95 % interval's width, as for a normal distribution, times √(D / (D − 1)),
    because a bootstrap over D documents measures their spread about their own mean.
    """
    change, low, high = judged_change(figures, control, random_seed)
    few = math.sqrt(figures["documents"] / max(1, figures["documents"] - 1))
    return change, change + errors * few * (high - low) / 4


def without_documents(domains: dict[str, dict]) -> dict[str, dict]:
    """The figures without their per-document lists, for reports."""
    return {
        d: {k: v for k, v in f.items() if not k.startswith("document_")} for d, f in domains.items()
    }


def by_document(values: Tensor, documents: Tensor) -> Tensor:
    """Window values [N] summed over each document [D], by its number."""
    numbers, place = documents.unique(return_inverse=True)
    return torch.zeros(len(numbers), dtype=torch.float64).index_add_(0, place, values.double())
