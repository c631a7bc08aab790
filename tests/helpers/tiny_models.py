"""Tiny random models of every family, and how logits are compared."""

from __future__ import annotations

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.network import canonical

VOCABULARY, TOKENS = 512, 256
LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
GEMMA_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
}
FAMILIES = {
    "llama": {"model_type": "llama", **LLAMA, "tie_word_embeddings": True},
    "llama-biases": {"model_type": "llama", **LLAMA, "attention_bias": True, "mlp_bias": True},
    "llama3-rope": {"model_type": "llama", **LLAMA, "rope_parameters": LLAMA3_ROPE},
    "linear-rope": {
        "model_type": "llama",
        **LLAMA,
        "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
    },
    "mistral": {"model_type": "mistral", **LLAMA, "sliding_window": 256},
    "qwen2": {"model_type": "qwen2", **LLAMA, "hidden_size": 128, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", **LLAMA, "tie_word_embeddings": True},
    "gemma3": {
        "model_type": "gemma3_text",
        **LLAMA,
        "sliding_window": 48,
        "rope_parameters": GEMMA_ROPE,
        "query_pre_attn_scalar": 24,
        "tie_word_embeddings": True,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 2,
        "n_positions": 512,
        "vocab_size": VOCABULARY,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
}


def random_model(name: str, seed: int = 0, **changes: object) -> PreTrainedModel:
    """A model whose logits differ clearly: large weights, uneven norms and biases."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**FAMILIES[name], **changes}))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            spread = 0.2 if "norm" in parameter_name or "ln_" in parameter_name else 0.1
            parameter.add_(torch.randn_like(parameter) * spread)
    return model.eval()


def checkpoint_of(model: PreTrainedModel) -> Checkpoint:
    config = model.config.to_dict()
    return Checkpoint(config, canonical(model.state_dict(), config))


def some_tokens(count: int = TOKENS, seed: int = 0) -> list[int]:
    return torch.randint(5, VOCABULARY - 20, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.no_grad()
def torch_logits(network: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    return network(input_ids=torch.tensor([tokens])).logits[0].float().numpy()


def mean_kl(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean KL(ours || theirs) in nats over positions."""
    p, q = (torch.from_numpy(x).double().log_softmax(-1) for x in (ours, theirs))
    return (p.exp() * (p - q)).sum(-1).mean().item()


def clear_top1_agreement(ours: np.ndarray, theirs: np.ndarray, margin: float = 1e-2) -> float:
    """Share of equal top tokens where the first of ours leads by at least ``margin``."""
    best = np.sort(ours, axis=-1)
    clear = best[:, -1] - best[:, -2] > margin
    assert clear.sum() > 100
    return float((ours.argmax(-1) == theirs.argmax(-1))[clear].mean())
