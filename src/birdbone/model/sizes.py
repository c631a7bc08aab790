"""How much of the seed is left of a model."""

from __future__ import annotations

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.pruning.removal import block_parameters, ffn_width, kv_groups, macs_per_token


def sizes(checkpoint: Checkpoint, seed_blocks: int) -> dict:
    """What a verdict says of size. ``sparsity``: share of the seed's block weights that is removed."""
    layers = range(checkpoint.layers)
    masked = {n: m for n, m in checkpoint.masks.items() if n.startswith("weight.")}
    return {
        "sparsity": 1 - block_parameters(checkpoint) / seed_blocks,
        "parameters": checkpoint.parameters,
        "macs_per_token": macs_per_token(checkpoint),
        "ffn_widths": [ffn_width(checkpoint, i) for i in layers],
        "kv_groups": [kv_groups(checkpoint, i) for i in layers],
        "masked_weights": sum(int((~m).sum()) for m in masked.values()),
    }
