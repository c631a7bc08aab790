"""Stage 2: what every node does on the calibration text, one block at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.model.architecture import architecture_of
from birdbone.model.blockwise import walk
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.network import build
from birdbone.model.observing.moments import CACHE, cache_key, fold, seal, store, token_weights
from birdbone.model.pruning.removal import kv_groups


def observe(
    seed: Checkpoint,
    texts: tuple[dict[str, Tensor], dict],
    node_scores: tuple[dict[str, Tensor], dict],
    settings: dict,
    device: str,
    random_seed: int,
) -> tuple[dict[str, Tensor], dict]:
    """Mean, variance, firing rate and sampled profile of every node.

    Per layer: ``ffn.<layer>.mean/.variance/.firing_rate`` [neurons], ``.profile`` [neurons, sampled
    tokens] (float16), and the same for ``kv.<layer>`` (a group's value is the norm of its heads'
    outputs). A neuron fires where it exceeds its own mean magnitude. The second moments met on the
    way, weighted by the scan, go to the project's cache.
    """
    windows = texts[0]["calibration"]
    network = build(seed, resolve_device(device))
    architecture = architecture_of(seed.config)
    weights = token_weights(node_scores[0])
    cache = CACHE / cache_key(seed, windows, weights)
    generator = torch.Generator().manual_seed(random_seed)
    sampled = torch.randperm(windows.numel(), generator=generator)[: settings["profile_tokens"]].sort().values
    tensors: dict[str, Tensor] = {}
    for layer, batches in walk(network, architecture, windows, "activations"):
        down, out = architecture.ffn_output(layer), architecture.attention_part(layer, "output")
        neurons, heads = [], []

        def watch(batch: dict[str, Tensor], neurons=neurons, heads=heads, down=down, out=out) -> dict[str, Tensor]:
            neurons.append(batch[down].cpu())
            heads.append(batch[out].cpu())
            return batch

        fit, check = fold(map(watch, batches), architecture.inputs_of(layer), weights)
        store(cache, layer, fit, check)
        groups = kv_groups(seed, layer)
        outputs = torch.cat(heads)
        values = {"ffn": torch.cat(neurons), "kv": outputs.reshape(len(outputs), groups, -1).norm(dim=-1)}
        for kind, h in values.items():
            tensors |= {f"{kind}.{layer}.{name}": t for name, t in _statistics(h, sampled).items()}
    seal(cache)
    return tensors, {"tokens": windows.numel(), "sampled_tokens": len(sampled), "layers": seed.layers}


def _statistics(h: Tensor, sampled: Tensor) -> dict[str, Tensor]:
    """From values [tokens, nodes]."""
    magnitude = h.abs()
    return {
        "mean": h.mean(0),
        "variance": h.var(0, correction=0),
        "firing_rate": (magnitude > magnitude.mean(0)).float().mean(0),
        "profile": h[sampled].T.half().contiguous(),
    }
