"""How a heal goes, and what a LoRA is like: plain values, so that settings can be read without
torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a student learns, and by what loss.

    steps, of ``batch`` windows each. learning_rate: at its peak. checkpoint_every: steps between
    two readings of check text. compute: ``auto``, ``float32`` or ``bfloat16``. ce_weight: of
    cross-entropy beside the KL to the teacher. state_weight: of the hidden states between the
    blocks.
    """

    steps: int
    batch: int
    learning_rate: float
    checkpoint_every: int
    compute: str = "auto"
    ce_weight: float = 0.0
    state_weight: float = 0.0


@dataclass(frozen=True)
class Lora:
    """A LoRA on every linear layer.

    base: ``float32``, or ``nf4`` for four bits. merge_onto: with ``nf4``, the float32 ``weights``
    or the de-quantized ``base``.
    """

    rank: int
    base: str = "float32"
    merge_onto: str = "weights"
