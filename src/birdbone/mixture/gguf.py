"""A mixture's tensors under llama.cpp's names for ``glm4moe``; no stock converter writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from gguf import ExpertGatingFuncType
from torch import Tensor
from transformers import PretrainedConfig

from birdbone.algo.grids import GRIDS
from birdbone.errors import ExportError
from birdbone.gguf.keys import rope_keys
from birdbone.gguf.plan import FLOATS, encoded
from birdbone.gguf.writer import write_plan
from birdbone.mixture.model import Mixture, stock_config, stock_weights

FORM = yaml.safe_load(files("birdbone.mixture").joinpath("mixture.yml").read_text())
USED = f"{FORM['arch']}.expert_used_count"
"""The key that says how many experts a token gets; a runtime may override it."""


def write_mixture(
    path: Path,
    mixture: Mixture,
    tokenizer_folder: Path,
    *,
    kind: str = "f32",
    metadata: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write the mixture as one GGUF file; returns the type requested for every tensor.

    kind: of every matrix but the routers (F32, F16 or a grid's name); routers and vectors are F32.
    Raises ExportError for what llama.cpp has no form for.
    """
    return write_plan(path, MixturePlan(mixture, kind.upper()), tokenizer_folder, metadata)


@dataclass
class MixturePlan:
    """What goes into the file: keys, names, types and bytes, like ``Plan`` for dense models."""

    mixture: Mixture
    default_type: str
    arch: str = field(init=False, default=FORM["arch"])
    config: PretrainedConfig = field(init=False)

    def __post_init__(self) -> None:
        self.config = stock_config(self.mixture)
        if self.default_type not in FLOATS and self.default_type not in GRIDS:
            raise ExportError(
                f"unknown tensor type {self.default_type!r}; known: {', '.join([*FLOATS, *GRIDS])}"
            )

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Tensors by name. The experts' gate and up are separate, as llama.cpp stores them."""
        weights = stock_weights(self.mixture)
        for name in [n for n in weights if n.endswith("experts.gate_up_proj")]:
            gate, up = weights.pop(name).chunk(2, dim=1)
            weights |= {
                name.replace("gate_up_proj", "gate"): gate,
                name.replace("gate_up_proj", "up"): up,
            }
        return weights

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        return self.config.vocab_size

    def keys(self) -> dict[str, Any]:
        """Every ``glm4moe.*`` key."""
        c = self.config
        return {
            "block_count": c.num_hidden_layers,
            "context_length": c.max_position_embeddings,
            "embedding_length": c.hidden_size,
            "feed_forward_length": c.intermediate_size,
            "attention.head_count": c.num_attention_heads,
            "attention.head_count_kv": c.num_key_value_heads,
            "attention.key_length": c.head_dim,
            "attention.value_length": c.head_dim,
            "attention.layer_norm_rms_epsilon": float(c.rms_norm_eps),
            "rope.dimension_count": c.head_dim,
            **rope_keys(c),
            "vocab_size": self.vocabulary,
            "leading_dense_block_count": 0,
            "expert_count": c.n_routed_experts,
            "expert_used_count": c.num_experts_per_tok,
            "expert_shared_count": c.n_shared_experts,
            "expert_feed_forward_length": c.moe_intermediate_size,
            "expert_weights_scale": float(c.routed_scaling_factor),
            "expert_weights_norm": False,
            "expert_gating_func": int(ExpertGatingFuncType.SIGMOID),
        }

    def factors(self) -> Tensor | None:
        """None: this architecture has no divisors of the rotary frequencies."""
        return None

    def names(self) -> dict[str, list[str]]:
        """GGUF name -> the one tensor it holds, in the file's order."""
        names = {theirs: [ours] for ours, theirs in FORM["modules"].items() if ours in self.weights}
        for layer in range(self.config.num_hidden_layers):
            for ours, theirs in FORM["block"].items():
                names[f"blk.{layer}.{theirs}"] = [f"model.layers.{layer}.{ours}"]
        lost = sorted(self.weights.keys() - {n for parts in names.values() for n in parts})
        if lost:
            raise ExportError(f"{lost[0]} has no name in llama.cpp's {self.arch}")
        return names

    def kind(self, name: str, parts: list[str]) -> str:
        """The ggml type of a tensor."""
        exact = name.split(".", 2)[-1] in FORM["float32"] or self.weights[parts[0]].ndim == 1
        return "F32" if exact else self.default_type

    def dimensions(self, parts: list[str]) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(self.weights[parts[0]].shape)

    def data(self, parts: list[str], kind: str) -> np.ndarray:
        """The bytes or numbers of a tensor; experts as one long matrix."""
        weight = self.weights[parts[0]].detach().to(torch.float32)
        flat = weight if weight.ndim == 1 else weight.reshape(-1, weight.shape[-1])
        return encoded(parts[0], flat, kind)
