"""A dense model of llama's kind as a sparse mixture in stock transformers' ``glm4_moe``, exactly.

Its router weighs an expert by scale · σ(z), unnormalised. With scale 2 and tiny z the weight is 1:
a layer gives the shared expert plus the chosen ones, and with all experts on what the dense layer
gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from birdbone.algo.mixture import TINY
from birdbone.errors import ConfigError, UnsupportedArchitectureError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import hf_config

SCALE = 2.0
ROPES = ("default", "linear")


@dataclass(frozen=True)
class ExpertShape:
    """How a layer is cut: ``experts`` of ``width`` nodes and a shared one of ``shared`` nodes."""

    experts: int
    width: int
    shared: int

    def expert(self, number: int) -> slice:
        """Where an expert's nodes lie once the layer is in the mixture's order."""
        start = self.shared + number * self.width
        return slice(start, start + self.width)


@dataclass(frozen=True)
class Mixture:
    """A dense checkpoint of even width, its nodes in the order shared, expert 0, expert 1 …, and
    its routers.

    routers: per layer [experts, hidden], with outputs of about 1. active: experts per token. size:
    scale of the routers' outputs in files and stock networks; it changes no ranking.
    """

    dense: Checkpoint
    routers: list[Tensor]
    shape: ExpertShape
    active: int
    size: float = TINY


def check_family(checkpoint: Checkpoint) -> None:
    """Raises UnsupportedArchitectureError unless glm4_moe computes what this model computes."""
    config = checkpoint.config
    rope = getattr(hf_config(config), "rope_parameters", None) or {}
    biases = [n for n in checkpoint.weights if n.endswith(".bias")]
    faults = {
        f"model_type is {config.get('model_type')!r}": checkpoint.layout.family.name != "llama",
        f"hidden_act is {config.get('hidden_act')!r}": config.get("hidden_act", "silu") != "silu",
        f"{biases[0]} is a bias" if biases else "": bool(biases),
        f"rope_type is {rope.get('rope_type')!r}": rope.get("rope_type", "default") not in ROPES,
    }
    if reasons := [fault for fault, is_so in faults.items() if is_so]:
        raise UnsupportedArchitectureError(
            f"moe: {reasons[0]}; a mixture (glm4_moe) holds models of llama's kind alone: "
            "llama or mistral, SiLU, no biases, plain or linear rotary positions"
        )


def expert_shape(width: int, experts: int, shared_share: float, multiple: int = 1) -> ExpertShape:
    """Cut ``width`` nodes. In glm4_moe the shared expert is one or more expert widths wide.

    multiple: an expert's width must be a multiple of it, for the file's tensor type. Raises
    ConfigError naming the expert counts that fit.
    """
    if experts > width:
        raise ConfigError(
            f"parameter moe.split.experts: {experts} experts, but a layer has {width} nodes"
        )
    parts = experts + _shared_parts(experts, shared_share)
    if width % parts or width // parts % multiple:
        fitting = [
            e
            for e in range(2, width)
            if width % (p := e + _shared_parts(e, shared_share)) == 0 and width // p % multiple == 0
        ]
        raise ConfigError(
            f"parameter moe.split.experts: {width} nodes do not divide into {experts} experts and "
            f"a shared one of {parts - experts} times their width"
            + (f" in multiples of {multiple}" if multiple > 1 else "")
            + "; at this moe.split.shared_share these fit: "
            + (", ".join(map(str, fitting)) or "none")
        )
    each = width // parts
    return ExpertShape(experts, each, width - experts * each)


def mixture_of(
    checkpoint: Checkpoint,
    orders: list[Tensor],
    routers: list[Tensor],
    shape: ExpertShape,
    active: int,
) -> Mixture:
    """The mixture of an evenly wide checkpoint. orders: each layer's nodes, shared first."""
    weights: dict[str, Tensor] = {}
    for block, order in zip(checkpoint.layout.blocks, orders, strict=True):
        for name, axis in block.axes_of("ffn").items():
            if name in checkpoint.weights:
                weights[name] = checkpoint.weights[name].index_select(axis.dim, order.long())
    return Mixture(checkpoint.evolve(weights), routers, shape, active)


def stock_config(mixture: Mixture, active: int | None = None) -> PretrainedConfig:
    """The stock configuration with ``active`` experts per token."""
    from transformers import Glm4MoeConfig

    dense = hf_config(mixture.dense.config)
    shape = mixture.shape
    layout = mixture.dense.layout
    block = layout.blocks[0]
    window = getattr(dense, "sliding_window", None)
    return Glm4MoeConfig(
        architectures=["Glm4MoeForCausalLM"],
        vocab_size=dense.vocab_size,
        hidden_size=dense.hidden_size,
        intermediate_size=mixture.dense.count("ffn", 0),
        num_hidden_layers=dense.num_hidden_layers,
        num_attention_heads=block.heads,
        num_key_value_heads=block.kv_heads,
        head_dim=block.head_size,
        hidden_act="silu",
        max_position_embeddings=min(
            dense.max_position_embeddings, window or dense.max_position_embeddings
        ),
        initializer_range=dense.initializer_range,
        rms_norm_eps=dense.rms_norm_eps,
        tie_word_embeddings=layout.head not in mixture.dense.weights,
        rope_parameters={**dense.rope_parameters, "partial_rotary_factor": 1.0},
        attention_bias=False,
        use_qk_norm=False,
        moe_intermediate_size=shape.width,
        num_experts_per_tok=active or mixture.active,
        n_shared_experts=shape.shared // shape.width,
        n_routed_experts=shape.experts,
        routed_scaling_factor=SCALE,
        norm_topk_prob=False,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=0,
        num_mtp_layers=0,
        bos_token_id=dense.bos_token_id,
        eos_token_id=dense.eos_token_id,
        pad_token_id=dense.pad_token_id,
    )


def stock_weights(mixture: Mixture) -> dict[str, Tensor]:
    """Every tensor under the stock class's own names."""
    shape = mixture.shape
    weights = dict(mixture.dense.weights)
    for block, router in zip(mixture.dense.layout.blocks, mixture.routers, strict=True):
        gate, up = (weights.pop(f"{module}.weight") for module in block.ffn_inputs)
        down = weights.pop(f"{block.ffn_output}.weight")
        mlp = block.ffn
        experts = [shape.expert(number) for number in range(shape.experts)]
        weights |= {
            f"{mlp}.shared_experts.gate_proj.weight": gate[: shape.shared],
            f"{mlp}.shared_experts.up_proj.weight": up[: shape.shared],
            f"{mlp}.shared_experts.down_proj.weight": down[:, : shape.shared].contiguous(),
            f"{mlp}.experts.gate_up_proj": torch.stack(
                [torch.cat([gate[e], up[e]]) for e in experts]
            ),
            f"{mlp}.experts.down_proj": torch.stack([down[:, e] for e in experts]),
            f"{mlp}.gate.weight": router * mixture.size,
            f"{mlp}.gate.e_score_correction_bias": torch.zeros(shape.experts),
        }
    return weights


def stock_network(mixture: Mixture, active: int | None = None, device: str = "cpu") -> nn.Module:
    """Stock ``Glm4MoeForCausalLM`` with the mixture's weights, float32, in evaluation mode."""
    # This import takes seconds, and no other stage needs it.
    from transformers import Glm4MoeForCausalLM

    network = Glm4MoeForCausalLM(stock_config(mixture, active))
    missing, unexpected = network.load_state_dict(stock_weights(mixture), strict=False)
    tied = {"lm_head.weight"} if network.config.tie_word_embeddings else set()
    if set(missing) - tied or unexpected:
        raise UnsupportedArchitectureError(
            f"glm4_moe: missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    return network.requires_grad_(False).eval().to(device)


def set_active(network: nn.Module, active: int) -> None:
    """Let a stock network use ``active`` experts per token from now on."""
    network.config.num_experts_per_tok = active
    for layer in network.model.layers:
        layer.mlp.gate.top_k = active


def write_stock(mixture: Mixture, folder: Path) -> None:
    """A float32 folder for stock ``from_pretrained``: tiny routers are subnormal in float16."""
    stock_network(mixture).save_pretrained(folder)


def _shared_parts(experts: int, share: float) -> int:
    return max(1, round(experts * share / (1 - share)))
