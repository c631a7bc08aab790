"""Masks inside every linear layer of a checkpoint, and how much each layer loses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from birdbone.algo.budget import spread
from birdbone.algo.weight_masks import mask_weight, saliency
from birdbone.errors import ConfigError
from birdbone.model.blockwise import walk
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import compute_dtype, return_memory
from birdbone.model.masks import Masks
from birdbone.model.network import build
from birdbone.model.observing.moments import Moments, SecondMoments, fold
from birdbone.model.pruning.settings import MaskSettings
from birdbone.model.scores import Scores

SAMPLE = 4096
"""Weights per tensor whose costs stand for all."""


def mask_weights(
    start: Checkpoint,
    calibration: Tensor,
    second_moments: SecondMoments,
    scores: Scores,
    settings: MaskSettings,
    damping: float,
    device: str,
) -> Checkpoint:
    """The checkpoint with a mask in every linear layer, and what is kept made up for it by
    ``sparsegpt`` and ``admm``.

    calibration: token windows [N, T]; scores: the weights of its tokens (none: every token counts
    alike) and, for budgets by sensitivity, Fisher information. Block by block: each is masked for
    the inputs that the masked blocks before it give.
    """
    dtype = compute_dtype("auto", device)
    network = build(start, device, dtype, streamed=True)  # masked weights replace its own: no third copy of them
    pattern = settings.pattern
    names = [f"{module}.weight" for module in start.layout.linears]
    for name in names:
        width = start.weights[name].shape[1]
        if pattern and width % pattern[1]:
            raise ConfigError(
                f"parameter prune_wave.weights.pattern: {pattern[1]} does not divide the {width} columns of {name}"
            )
    budgets: dict[str, float] = {}
    if settings.budget == "sensitivity" and not pattern:
        layers = second_moments.of(start, calibration, scores.tokens, device)
        budgets = sensitivity_budgets(start, layers, scores.fisher_left(start), settings, damping)
    # Room for what stays, taken before the first block: between what comes and goes it would leave
    # holes.
    new = {name: torch.empty_like(start.weights[name]) for name in names}
    bits: dict[str, np.ndarray] = {}
    for layer, batches in walk(network, start.layout, calibration, f"masks ({settings.method})", settle=True):
        if layer == 0:  # the text is embedded by now, and nobody asks for logits
            network.get_input_embeddings().weight = network.get_output_embeddings().weight = None
        block = start.layout.blocks[layer]
        fit, check = fold(batches, block.inputs, scores.tokens)
        for module in block.linears:
            name = f"{module}.weight"
            moment = fit[module] if check[module] is fit[module] else fit[module] + check[module]
            sparsity = budgets.get(module, settings.sparsity)
            weight = start.weights[name].to(device)
            mask, weight = mask_weight(weight, moment.to(device), settings.method, sparsity, pattern, damping)
            bits[name] = np.packbits(mask.cpu().numpy())
            network.get_submodule(module).weight = nn.Parameter(new[name].copy_(weight), requires_grad=False)
        return_memory()
    del network
    masks = {name: _unpacked(bits.pop(name), new[name].shape) for name in names}
    return start.evolve(new, Masks(weights=masks))


def _unpacked(bits: np.ndarray, shape: torch.Size) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits, count=shape.numel()).view(bool)).view(shape)


def sensitivity_budgets(
    start: Checkpoint,
    layers: Iterator[tuple[int, Moments, Moments]],
    fisher: dict[str, Tensor],
    settings: MaskSettings,
    damping: float,
) -> dict[str, float]:
    """Module -> share of its weights to mask, by what they cost.

    A weight's cost is the output error that removing it makes (see ``saliency``), times the mean
    squared gradient of that output: nats to second order, so that modules compare.
    """
    costs: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    method = settings.method
    for layer, fit, _ in layers:
        for module in start.layout.blocks[layer].linears:
            weight = start.weights[f"{module}.weight"]
            cost = saliency(weight, fit[module], method, damping)
            if method != "magnitude":
                cost = cost * fisher[module][:, None]
            ranks = torch.linspace(0, weight.numel() - 1, min(SAMPLE, weight.numel())).long()
            costs[module], counts[module] = cost.flatten().sort().values[ranks], weight.numel()
    return spread(costs, counts, settings.sparsity)
