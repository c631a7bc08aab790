"""A model against the seed on every domain of a split: the one way figures are made."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from birdbone.algo.perplexity import domain_figures
from birdbone.model.judging.evaluate import compare
from birdbone.model.judging.reference import Reference


def judge(
    network: nn.Module, reference: Reference, texts: dict[str, Tensor], split: str, random_seed: int
) -> dict[str, dict[str, float]]:
    """Figures per domain (see ``domain_figures``) on ``guard`` or ``test`` windows."""
    device, figures = next(network.parameters()).device, {}
    for domain in domains(texts, split):
        name = f"{split}.{domain}"
        seed_logits = partial(reference.logits, name, device=device)
        measured = compare(network, seed_logits, texts[name], f"{split}: {domain}")
        figures[domain] = domain_figures(measured, texts[f"{name}.documents"], texts[name].shape[1] - 1, random_seed)
    return figures


def judge_itself(reference: Reference, texts: dict[str, Tensor], split: str, random_seed: int) -> dict[str, dict]:
    """The seed's own figures in the same form: no change, no divergence."""
    figures = {}
    for domain in domains(texts, split):
        name = f"{split}.{domain}"
        windows = texts[name]
        nll, scored = reference.losses(name, windows), windows.shape[1] - 1
        same = {"nll": nll, "seed_nll": nll, "kl": torch.zeros_like(nll), "agree": torch.full_like(nll, scored)}
        figures[domain] = domain_figures(same, texts[f"{name}.documents"], scored, random_seed)
    return figures


def domains(texts: dict[str, Tensor], split: str) -> list[str]:
    """The domains a split holds."""
    return [n.removeprefix(f"{split}.") for n in texts if n.startswith(f"{split}.") and not n.endswith(".documents")]
