"""Tiny random models of every family that the family files describe, and what tests do with them.

A family's configuration is its class in transformers with the generic sizes below. A new family
file needs no line here, unless its configuration has something special: then one in SPECIAL.
"""

from __future__ import annotations

from functools import cache

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedModel

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.family import families
from birdbone.model.masks import Masks
from birdbone.model.network import canonical, check_described
from birdbone.model.pruning.removal import remove_nodes
from birdbone.model.units import Nodes

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "sliding_window": 8,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
"""By the names that most families use. A family gets those that its configuration has."""

SPECIAL = {
    "llama": {"tie_word_embeddings": True},
    "qwen2": {"tie_word_embeddings": True},
    "smollm3": {"tie_word_embeddings": True},
    "olmo2": {"rms_norm_eps": 1e-7},
    "granite": {
        "tie_word_embeddings": True,
        "attention_multiplier": 0.3,
        "embedding_multiplier": 2.0,
        "residual_multiplier": 0.5,
        "logits_scaling": 0.75,
    },
    "gemma3_text": {
        "sliding_window": 6,
        "query_pre_attn_scalar": 24,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
        },
    },
    "gemma4_text": {
        "sliding_window": 6,
        "global_head_dim": 64,
        "hidden_size_per_layer_input": 32,
        "tie_word_embeddings": True,
    },
    "qwen3_5_text": {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
    },
}
"""What a family needs or is tested with beyond the sizes, by ``model_type``."""

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
BIASES = {"attention_bias": True, "mlp_bias": True, "head_dim": None, "tie_word_embeddings": False}
VARIANTS = {
    "llama-biases": ("llama", BIASES),
    "llama3-rope": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "linear-rope": ("llama", {"rope_parameters": LINEAR_ROPE}),
}
"""Names for a family with other settings: its ``model_type`` and what differs."""

FAMILIES = [*sorted(families()), "llama-biases"]
"""What most tests run over."""


def settings_of(name: str = "llama", sizes: dict = SIZES, **changes: object) -> dict:
    """A tiny configuration, in the family's own names, as ``AutoConfig.for_model`` takes it.

    Where layers differ in kind (windows, linear attention), the kinds take turns.
    """
    model_type, variant = VARIANTS.get(name, (name, {}))
    default = CONFIG_MAPPING[model_type]()
    keys = {*default.to_dict(), *default.attribute_map}
    sizes = {key: size for key, size in sizes.items() if key in keys}
    if getattr(default, "sliding_window", None) is None:
        sizes.pop("sliding_window", None)
    settings = {**sizes, **SPECIAL.get(model_type, {}), **variant}
    kinds = sorted(set(getattr(default, "layer_types", None) or ()), reverse=True)
    if len(kinds) > 1:
        layers = changes.get("num_hidden_layers", settings["num_hidden_layers"])
        settings["layer_types"] = [kinds[layer % len(kinds)] for layer in range(layers)]
    settings |= changes
    settings |= dict.fromkeys(families()[model_type].vocabulary, settings["vocab_size"])
    return {
        "model_type": model_type,
        **{default.attribute_map.get(key, key): value for key, value in settings.items()},
    }


def random_model(
    name: str = "llama", seed: int = 0, sizes: dict = SIZES, **changes: object
) -> PreTrainedModel:
    """A model whose logits differ clearly: large weights, uneven norms and biases.

    A family file that does not fit the class of transformers is an error, as it is at load.
    """
    _check_file(name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = AutoConfig.for_model(**settings_of(name, sizes, **changes))
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.1
        for name, buffer in model.named_buffers():
            if name in model.state_dict():
                buffer += torch.randn_like(buffer) * 0.1
    return model.eval()


@cache
def _check_file(name: str) -> None:
    check_described(AutoConfig.for_model(**settings_of(name)).to_dict())


def checkpoint_of(model: PreTrainedModel) -> Checkpoint:
    config = model.config.to_dict()
    return Checkpoint(config, canonical(model.state_dict(), config))


def small(name: str = "llama", seed: int = 0, **changes: object) -> Checkpoint:
    return checkpoint_of(random_model(name, seed, **changes))


def linear_names(checkpoint: Checkpoint) -> list[str]:
    """The weight of every linear layer of the blocks."""
    return [f"{module}.weight" for module in checkpoint.layout.linears]


def tokens(rows: int = 2, length: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 96, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(network: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return network(ids, use_cache=False).logits


def all_but(count: int, *gone: int) -> torch.Tensor:
    stays = torch.ones(count, dtype=torch.bool)
    stays[list(gone)] = False
    return stays


def cut(
    checkpoint: Checkpoint, neurons: dict, groups: dict | None = None, repaired: dict | None = None
) -> Checkpoint:
    """Without some neurons and key-value groups: layer -> bool over the present ones, True =
    stays. Layers without attention have no groups to lose.
    """
    stays = {Nodes("ffn", layer): left for layer, left in neurons.items()}
    attending = [block.layer for block in checkpoint.layout.blocks if block.attends]
    stays |= {Nodes("kv", i): left for i, left in (groups or {}).items() if i in attending}
    return remove_nodes(checkpoint, stays, repaired)


def silenced(checkpoint: Checkpoint, neurons: dict, groups: dict) -> Checkpoint:
    """The same model at full width whose removed nodes give nothing to the residual stream."""
    weights = {}
    for unit, layers in (("ffn", neurons), ("kv", groups)):
        for layer, stays in layers.items():
            block = checkpoint.layout.blocks[layer]
            if not checkpoint.layout.count(Nodes(unit, layer)):
                continue
            name = f"{block.reader(unit)}.weight"
            weights[name] = checkpoint.weights[name] * stays.repeat_interleave(
                block.axes[name].entries
            )
            if unit == "kv" and block.joint_norms:  # their mean is over the heads that are left
                for rows in (f"{block.query}.weight", f"{block.key}.weight"):
                    left = stays.repeat_interleave(block.axes[rows].entries)
                    weights[rows] = checkpoint.weights[rows] * left[:, None]
    return checkpoint.evolve(weights)


def random_masks(checkpoint: Checkpoint, sparsity: float = 0.5) -> Checkpoint:
    """The checkpoint with a random mask in every linear layer, its weights zero there."""
    generator = torch.Generator().manual_seed(3)
    masks = {
        name: torch.rand(checkpoint.weights[name].shape, generator=generator) > sparsity
        for name in linear_names(checkpoint)
    }
    return checkpoint.evolve(
        {name: checkpoint.weights[name] * mask for name, mask in masks.items()},
        Masks(weights=masks),
    )


def shape_of(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """(neurons, key-value groups) of each layer."""
    return list(zip(checkpoint.counts("ffn"), checkpoint.counts("kv"), strict=True))


@torch.no_grad()
def seen_by_hooks(network, names, ids) -> dict[str, torch.Tensor]:
    """The inputs of some linear layers in an ordinary forward pass: a row per token."""
    seen, handles = {}, []
    for name in names:
        handles.append(
            network.get_submodule(name).register_forward_pre_hook(
                lambda _, args, name=name: seen.__setitem__(name, args[0].flatten(0, -2))
            )
        )
    network(ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen
