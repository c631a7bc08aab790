"""A model against the seed on every domain of a split: the one way figures are made."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from birdbone.algo.perplexity import domain_figures, worst_change
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
        figures[name] = figures_of(measured, reference, name, domain, random_seed)
    return figures


def judge_itself(
    reference: Reference, domains: dict[str, Domain], random_seed: int
) -> dict[str, dict]:
    """The seed's own figures in the same form: no divergence, and the change that trimming made."""
    figures = {}
    for name, domain in domains.items():
        nll = reference.losses(name, domain.windows)
        scored = domain.windows.shape[1] - 1
        agree = torch.full_like(nll, scored)
        same = {"nll": nll, "seed_nll": nll, "kl": torch.zeros_like(nll), "agree": agree}
        figures[name] = figures_of(same, reference, name, domain, random_seed)
    return figures


def trimmed_change(reference: Reference, domains: dict[str, Domain], random_seed: int) -> float:
    """The worst domain's perplexity change that fewer tokens alone make; 0.0 where none went."""
    if not reference.readings:
        return 0.0
    return worst_change(judge_itself(reference, domains, random_seed), None)[1]


def figures_of(
    measured: dict[str, Tensor], reference: Reference, name: str, domain: Domain, random_seed: int
) -> dict[str, float]:
    """One domain's; losses against the untrimmed seed's, in its tokens, where one was trimmed."""
    scored = domain.windows.shape[1] - 1
    reading = reference.readings.get(name)
    if reading is None:
        return domain_figures(measured, domain.documents, scored, random_seed)
    measured = {**measured, "seed_nll": reading.nll}
    return domain_figures(measured, domain.documents, scored, random_seed, reading.tokens)
