"""Tiny models of a size that llama.cpp reads, and how its logits are compared with PyTorch's."""

from __future__ import annotations

import families
import numpy as np
import torch
from tokenizer_folders import VOCABULARY
from transformers import PreTrainedModel

TOKENS = 256
SIZES = {
    **families.SIZES,
    "num_hidden_layers": 3,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 512,
    "sliding_window": TOKENS,
}
FAMILIES = [*families.FAMILIES, "llama3-rope", "linear-rope"]


def random_model(name: str, seed: int = 0, **changes: object) -> PreTrainedModel:
    """Three layers; all positions and tokens that the tests read."""
    return families.random_model(name, seed, SIZES, **changes)


def some_tokens(count: int = TOKENS, seed: int = 0) -> list[int]:
    return torch.randint(
        5, VOCABULARY - 20, (count,), generator=torch.Generator().manual_seed(seed)
    ).tolist()


@torch.no_grad()
def torch_logits(network: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    return network(input_ids=torch.tensor([tokens])).logits[0].float().numpy()


def mean_kl(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean KL(ours || theirs) in nats over positions."""
    p, q = (torch.from_numpy(x).double().log_softmax(-1) for x in (ours, theirs))
    return (p.exp() * (p - q)).sum(-1).mean().item()


def clear_top1_agreement(ours: np.ndarray, theirs: np.ndarray, margin: float = 1e-2) -> float:
    """Share of equal top tokens where the first of ours leads by at least ``margin``."""
    best = np.sort(ours, axis=-1)
    clear = best[:, -1] - best[:, -2] > margin
    assert clear.sum() > 100
    return float((ours.argmax(-1) == theirs.argmax(-1))[clear].mean())
