"""A model against the seed on every domain of a split: the one way figures are made."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from birdbone.algo.perplexity import domain_figures
from birdbone.model.judging.evaluate import compare
from birdbone.model.judging.reference import Reference
from birdbone.text.texts import Domain


def judge(
    network: nn.Module,
    reference: Reference,
    domains: dict[str, Domain],
    random_seed: int,
    label: str = "guard",
) -> dict[str, dict[str, float]]:
    """Figures per domain, see ``domain_figures``. reference: of the same domains' windows."""
    device, figures = next(network.parameters()).device, {}
    for name, domain in domains.items():
        seed_logits = partial(reference.logits, name, device=device)
        measured = compare(network, seed_logits, domain.windows, f"{label}: {name}")
        scored = domain.windows.shape[1] - 1
        figures[name] = domain_figures(measured, domain.documents, scored, random_seed)
    return figures


def judge_itself(
    reference: Reference, domains: dict[str, Domain], random_seed: int
) -> dict[str, dict]:
    """The seed's own figures in the same form: no change, no divergence."""
    figures = {}
    for name, domain in domains.items():
        nll = reference.losses(name, domain.windows)
        scored = domain.windows.shape[1] - 1
        agree = torch.full_like(nll, scored)
        same = {"nll": nll, "seed_nll": nll, "kl": torch.zeros_like(nll), "agree": agree}
        figures[name] = domain_figures(same, domain.documents, scored, random_seed)
    return figures
