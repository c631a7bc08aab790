"""A model against the seed on every domain of a split: the one way figures are made."""

from __future__ import annotations

from torch import Tensor, nn

from birdbone.algo.perplexity import domain_figures
from birdbone.model.evaluate import compare


def judge(
    network: nn.Module, seed: nn.Module, texts: dict[str, Tensor], split: str, random_seed: int
) -> dict[str, dict[str, float]]:
    """Figures per domain (see ``domain_figures``) on ``guard`` or ``test`` windows."""
    figures = {}
    for domain in domains(texts, split):
        windows = texts[f"{split}.{domain}"]
        measured = compare(network, seed, windows, f"{split}: {domain}")
        figures[domain] = domain_figures(
            measured, texts[f"{split}.{domain}.documents"], windows.shape[1] - 1, random_seed
        )
    return figures


def domains(texts: dict[str, Tensor], split: str) -> list[str]:
    """The domains a split holds."""
    return [n.removeprefix(f"{split}.") for n in texts if n.startswith(f"{split}.") and not n.endswith(".documents")]
