"""Stage 2: what every node does on the calibration text, one block at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from birdbone.model.blockwise import walk
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import build
from birdbone.model.observing.activations import Activations, Activity
from birdbone.model.observing.moments import fold, key_of, seal, store
from birdbone.model.scores import Scores
from birdbone.model.units import Nodes, by_layer
from birdbone.pipelines.activation_log.settings import ActivationSettings
from birdbone.pipelines.inputs import Workplace
from birdbone.text.texts import Texts


def observe(
    seed: Checkpoint,
    texts: Texts,
    node_scores: Scores,
    settings: ActivationSettings,
    work: Workplace,
) -> tuple[Activations, Path]:
    """Mean, variance, firing rate and sampled profile of every node, and the second moments.

    A key-value group's value is the norm of its heads' outputs. A neuron fires where it exceeds its
    own mean magnitude. The second moments are weighted by the scan and written layer by layer into
    a folder (see ``SecondMoments``).
    """
    windows = texts.calibration
    network = build(seed, work.place)
    folder = work.scratch / "second_moments"
    generator = torch.Generator().manual_seed(work.random_seed)
    chosen = torch.randperm(windows.numel(), generator=generator)[: settings.profile_tokens]
    sampled = chosen.sort().values
    activities: dict[Nodes, Activity] = {}
    for layer, batches in walk(network, seed.layout, windows, "activations"):
        block = seed.layout.blocks[layer]
        down = block.ffn_output
        out = block.output
        neurons = []
        heads = []

        def watch(
            batch: dict[str, Tensor], neurons=neurons, heads=heads, down=down, out=out
        ) -> dict[str, Tensor]:
            neurons.append(batch[down].cpu())
            heads.append(batch[out].cpu())
            return batch

        store(folder, layer, *fold(map(watch, batches), block.inputs, node_scores.tokens))
        activities[Nodes("ffn", layer)] = _activity(torch.cat(neurons), sampled)
        if "kv" in block.units:
            outputs = torch.cat(heads)
            groups = outputs.reshape(len(outputs), block.kv_heads, -1).norm(dim=-1)
            activities[Nodes("kv", layer)] = _activity(groups, sampled)
    seal(folder, key_of(seed, windows, node_scores.tokens))
    return Activations(by_layer(activities), windows.numel(), len(sampled)), folder


def _activity(h: Tensor, sampled: Tensor) -> Activity:
    """From values [tokens, nodes]."""
    magnitude = h.abs()
    return Activity(
        mean=h.mean(0),
        variance=h.var(0, correction=0),
        firing_rate=(magnitude > magnitude.mean(0)).float().mean(0),
        profile=h[sampled].T.half().contiguous(),
    )
