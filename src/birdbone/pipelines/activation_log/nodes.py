"""Stage 2: what every node does on the calibration text, one block at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.model.architecture import architecture_of
from birdbone.model.blockwise import walk
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.network import build
from birdbone.model.observing.activations import Activations, Activity
from birdbone.model.observing.moments import CACHE, cache_key, fold, seal, store, token_weights
from birdbone.model.pruning.removal import kv_groups
from birdbone.pipelines.activation_log.settings import ActivationSettings
from birdbone.text.texts import Texts


def observe(
    seed: Checkpoint,
    texts: Texts,
    node_scores: tuple[dict[str, Tensor], dict],
    settings: ActivationSettings,
    device: str,
    random_seed: int,
) -> Activations:
    """Mean, variance, firing rate and sampled profile of every node.

    Kinds are ``ffn`` and ``kv``: a group's value is the norm of its heads' outputs. A neuron fires where
    it exceeds its own mean magnitude. The second moments met on the way, weighted by the scan, go to the
    project's cache.
    """
    windows = texts.calibration
    network = build(seed, resolve_device(device))
    architecture = architecture_of(seed.config)
    weights = token_weights(node_scores[0])
    cache = CACHE / cache_key(seed, windows, weights)
    generator = torch.Generator().manual_seed(random_seed)
    sampled = (
        torch.randperm(windows.numel(), generator=generator)[: settings.profile_tokens]
        .sort()
        .values
    )
    layers: dict[str, list[Activity]] = {"ffn": [], "kv": []}
    for layer, batches in walk(network, architecture, windows, "activations"):
        down, out = architecture.ffn_output(layer), architecture.attention_part(layer, "output")
        neurons, heads = [], []

        def watch(
            batch: dict[str, Tensor], neurons=neurons, heads=heads, down=down, out=out
        ) -> dict[str, Tensor]:
            neurons.append(batch[down].cpu())
            heads.append(batch[out].cpu())
            return batch

        fit, check = fold(map(watch, batches), architecture.inputs_of(layer), weights)
        store(cache, layer, fit, check)
        groups = kv_groups(seed, layer)
        outputs = torch.cat(heads)
        values = {
            "ffn": torch.cat(neurons),
            "kv": outputs.reshape(len(outputs), groups, -1).norm(dim=-1),
        }
        for kind, h in values.items():
            layers[kind].append(_activity(h, sampled))
    seal(cache)
    return Activations(layers, windows.numel(), len(sampled))


def _activity(h: Tensor, sampled: Tensor) -> Activity:
    """From values [tokens, nodes]."""
    magnitude = h.abs()
    return Activity(
        mean=h.mean(0),
        variance=h.var(0, correction=0),
        firing_rate=(magnitude > magnitude.mean(0)).float().mean(0),
        profile=h[sampled].T.half().contiguous(),
    )
