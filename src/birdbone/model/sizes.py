"""How much of the seed is left of a model."""

from __future__ import annotations

from birdbone.model.checkpoint import Checkpoint


def sizes(checkpoint: Checkpoint, seed_blocks: int) -> dict:
    """What a verdict says of size. ``sparsity``: share of the seed's block weights that is
    removed.
    """
    return {
        "sparsity": 1 - checkpoint.block_parameters / seed_blocks,
        "parameters": checkpoint.parameters,
        "macs_per_token": checkpoint.macs_per_token,
        "ffn_widths": checkpoint.counts("ffn"),
        "kv_groups": checkpoint.counts("kv"),
        "masked_weights": checkpoint.masks.masked,
    }
