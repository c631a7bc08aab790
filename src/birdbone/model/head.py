"""From final states to logits: a network's head, and the soft cap where its family has one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birdbone.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Head:
    """``weight`` [V, H], V the vocabulary and H the hidden size.

    Every logit x is divided by ``divisor``; ``cap`` c then makes c·tanh(x / c) of it.
    """

    weight: Tensor
    cap: float | None = None
    divisor: float = 1.0

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Head:
        """A checkpoint's head: its own, or the embedding that it shares."""
        layout = checkpoint.layout
        weight = checkpoint.weights.get(layout.head, checkpoint.weights[layout.embedding])
        config = checkpoint.config
        return cls(weight, config.get("final_logit_softcapping"), config.get("logits_scaling", 1.0))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Head:
        """The same on ``device``, in ``dtype`` or as it is."""
        return replace(self, weight=self.weight.to(device, dtype or self.weight.dtype))

    def sharing(self, network: nn.Module) -> Head:
        """The same with the weight that a network built from the checkpoint already holds."""
        return replace(self, weight=network.get_output_embeddings().weight)

    def logits(self, states: Tensor) -> Tensor:
        """Final states [..., H] of any dtype -> logits [..., V] in the weight's dtype."""
        logits = F.linear(states.to(self.weight.dtype), self.weight)
        if self.divisor != 1:
            logits = logits / self.divisor
        return torch.tanh(logits / self.cap) * self.cap if self.cap else logits


def hidden_states(network: nn.Module, ids: Tensor, between: bool = False) -> tuple[Tensor, ...]:
    """What the head reads, after the final norm: token ids [B, T] -> one tensor [B, T, H].

    between: before it what each block but the last gives, of the same shape.
    """
    out = network.base_model(ids, use_cache=False, output_hidden_states=between)
    return (*(out.hidden_states[1:-1] if between else ()), out.last_hidden_state)
