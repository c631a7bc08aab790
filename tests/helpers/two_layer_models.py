"""Tiny random models of every family: 2 layers, hidden 64."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from birdbone.model.architecture import Architecture, architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import canonical
from birdbone.model.pruning.removal import ffn_width, kv_groups

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
CONFIGS = {
    "llama": {"model_type": "llama", **COMMON, "head_dim": 32, "tie_word_embeddings": True},
    "llama-biases": {
        "model_type": "llama",
        **COMMON,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": False,
    },
    "mistral": {"model_type": "mistral", **COMMON, "sliding_window": 8, "tie_word_embeddings": False},
    "qwen2": {"model_type": "qwen2", **COMMON, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", **COMMON, "head_dim": 32, "tie_word_embeddings": False},
    "gemma3": {
        "model_type": "gemma3_text",
        **COMMON,
        "head_dim": 32,
        "sliding_window": 6,
        "query_pre_attn_scalar": 24,
        "tie_word_embeddings": True,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "vocab_size": 96,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
}


def random_model(name: str, seed: int = 0, **changes: object) -> PreTrainedModel:
    """A model whose logits differ clearly: large weights, uneven norms and biases."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = AutoConfig.for_model(**{**CONFIGS[name], **changes})
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.1
    return model.eval()


def checkpoint_of(model: PreTrainedModel) -> Checkpoint:
    config = model.config.to_dict()
    return Checkpoint(config, canonical(model.state_dict(), config))


def small(name: str = "llama", seed: int = 0, **changes: object) -> Checkpoint:
    return checkpoint_of(random_model(name, seed, **changes))


def family(checkpoint: Checkpoint) -> Architecture:
    return architecture_of(checkpoint.config)


def tokens(rows: int = 2, length: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 96, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(network: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return network(ids, use_cache=False).logits


def all_but(count: int, *gone: int) -> torch.Tensor:
    stays = torch.ones(count, dtype=torch.bool)
    stays[list(gone)] = False
    return stays


def silenced(checkpoint: Checkpoint, neurons: dict, groups: dict) -> Checkpoint:
    """The same model at full width whose removed nodes give nothing to the residual stream."""
    architecture, weights = family(checkpoint), {}
    for layer, stays in neurons.items():
        name = f"{architecture.ffn_output(layer)}.weight"
        weights[name] = checkpoint.weights[name] * stays
    for layer, stays in groups.items():
        name = f"{architecture.attention_part(layer, 'output')}.weight"
        columns = checkpoint.weights[name].shape[1] // kv_groups(checkpoint, layer)
        weights[name] = checkpoint.weights[name] * stays.repeat_interleave(columns)
    return checkpoint.evolve(weights)


def random_masks(checkpoint: Checkpoint, sparsity: float = 0.5) -> Checkpoint:
    """The checkpoint with a random mask in every linear layer, its weights zero there."""
    generator, weights, masks = torch.Generator().manual_seed(3), {}, {}
    for layer in range(checkpoint.layers):
        for module in family(checkpoint).linears(layer):
            name = f"{module}.weight"
            masks[f"weight.{name}"] = torch.rand(checkpoint.weights[name].shape, generator=generator) > sparsity
            weights[name] = checkpoint.weights[name] * masks[f"weight.{name}"]
    return checkpoint.evolve(weights, masks)


def shape_of(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """(neurons, key-value groups) of each layer."""
    return [(ffn_width(checkpoint, i), kv_groups(checkpoint, i)) for i in range(checkpoint.layers)]
