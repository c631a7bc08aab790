"""A prompt through a model: one forward and one backward pass, every block's norms on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from birdbone.datasets.mscan import ScanWriter
from birdbone.errors import TextError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.context import positions_of
from birdbone.model.network import build
from birdbone.model.observing.gradients import gradients
from birdbone.scan.record import append, modules_of, token_texts


def scan_prompt(
    prompt: str,
    checkpoint: Checkpoint,
    tokenizer,
    path: Path,
    *,
    name: str,
    digest: str,
    device: str,
    block: int = 64,
) -> None:
    """Scan one prompt to an ``.mscan`` file, as text with no chat template; its last token has no
    target.

    A pruned model is scanned at the seed's width, with zeros for removed nodes, so that its blocks
    match the seed's. The file appears only when it is complete. Raises TextError for a prompt of
    fewer than two tokens or longer than the context, NumericalError naming the module when
    gradients are not finite.
    """
    ids = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    context = positions_of(checkpoint.config)
    if len(ids) < 2:
        raise TextError(
            f"the prompt has {len(ids)} token{'s' * (len(ids) != 1)}: give at least two, since "
            "each is scored by its successor"
        )
    if context and len(ids) > context:
        raise TextError(
            f"the prompt has {len(ids)} tokens, but the context of {name} is {context}: shorten it"
        )
    whole = full_width(checkpoint)
    network = build(whole, device)
    ids = torch.tensor(ids)
    pairs = gradients(network, whole.layout.linears, ids.to(device))
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        with ScanWriter(
            unfinished, model=name, model_digest=digest, modules=modules_of(whole), block=block
        ) as writer:
            append(writer, pairs, token_texts(tokenizer, ids), prompt, block)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def full_width(checkpoint: Checkpoint) -> Checkpoint:
    """The same function at the seed's width: removed nodes have weights of zero."""
    weights = dict(checkpoint.weights)
    for block in checkpoint.layout.blocks:
        for name, axis in block.axes.items():
            mask = checkpoint.node_mask(axis.nodes)
            if name in weights and not mask.all():
                weights[name] = axis.widened(weights[name], mask)
    return Checkpoint(checkpoint.config, weights)
