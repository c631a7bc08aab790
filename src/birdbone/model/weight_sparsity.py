"""Masks inside every linear layer of a checkpoint, and how much each layer loses."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from birdbone.algo.budget import spread
from birdbone.algo.weight_masks import mask_weight, saliency
from birdbone.errors import ConfigError
from birdbone.model.architecture import architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.moments import Moments
from birdbone.model.shrink import narrowed_fisher

SAMPLE = 4096
"""Weights per tensor whose costs stand for all."""


class Masker:
    """Masks of one checkpoint under the ``prune_wave.weights`` parameters."""

    def __init__(self, start: Checkpoint, scores: dict[str, Tensor], asked: dict, damping: float) -> None:
        """scores: ``fisher.<module>`` over the seed's outputs; asked: method, sparsity, pattern, budget."""
        self.start, self.asked, self.damping = start, asked, damping
        self.fisher = narrowed_fisher(start, scores)
        self.budgets: dict[str, float] = {}

    def set_budgets(self, layers: Iterator[tuple[int, Moments, Moments]]) -> None:
        """``sensitivity``: each module's share by what its weights cost, the same in all where ``uniform``.

        A weight's cost is the output error that removing it makes (see ``saliency``), times the mean squared
        gradient of that output: nats to second order, so that modules compare.
        """
        if self.asked["budget"] == "uniform" or self.asked["pattern"]:
            return
        costs, counts, method = {}, {}, self.asked["method"]
        for layer, fit, _ in layers:
            for module in architecture_of(self.start.config).linears(layer):
                weight = self.start.weights[f"{module}.weight"]
                cost = saliency(weight, fit[module], method, self.damping)
                if method != "magnitude":
                    cost = cost * self.fisher[module][:, None]
                ranks = torch.linspace(0, weight.numel() - 1, min(SAMPLE, weight.numel())).long()
                costs[module], counts[module] = cost.flatten().sort().values[ranks], weight.numel()
        self.budgets = spread(costs, counts, self.asked["sparsity"])

    def mask(self, module: str, weight: Tensor, moment: Tensor) -> tuple[Tensor, Tensor]:
        """(mask, new weight) of one module's weight [O, I] with its inputs' moment [I, I]."""
        pattern = self.asked["pattern"]
        if pattern and weight.shape[1] % pattern[1]:
            raise ConfigError(
                f"parameter prune_wave.weights.pattern: {pattern[1]} does not divide the "
                f"{weight.shape[1]} inputs of {module}"
            )
        sparsity = self.budgets.get(module, self.asked["sparsity"])
        return mask_weight(
            weight, moment, self.asked["method"], sparsity, tuple(pattern) if pattern else None, self.damping
        )
