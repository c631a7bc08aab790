"""The figures of a bundle: size, speed, perplexity, canaries and the guard's verdict, before and after."""

from __future__ import annotations

import math

from birdbone.diff.revisions import Side
from birdbone.diff.states import State
from birdbone.model.architecture import architecture_of

NOT_JUDGED = "not judged"


def metrics(old: Side, new: Side) -> dict:
    """``metrics.json``: ``{before, after, verdict, worst_domain, worst_change, limit}``, less what is not known."""
    final = new.records.figures.get("final") or {}
    known = bool(final) and not new.records.figures.get("is_seed")
    return {
        "before": figures_of(old),
        "after": figures_of(new),
        "verdict": ("accepted" if final["accepted"] else "rejected") if known else NOT_JUDGED,
        **{k: final[k] for k in ("worst_domain", "worst_change", "limit") if known and k in final},
    }


def figures_of(side: Side) -> dict:
    """What is known of one side: parameters from its tensors, all else from its reports."""
    found = {"parameters": parameters(side.state), "macs_per_token": macs_per_token(side.state)}
    known = side.records.figures
    seed, final, quantize = (known.get(k) or {} for k in ("seed", "final", "quantize"))
    judged = final.get("domains", {})
    if known.get("is_seed"):
        perplexity = {d: f["seed_perplexity"] for d, f in judged.items()}
        found |= {"bytes": seed.get("bytes_f16"), "perplexity": perplexity, "canaries": answered(seed.get("canaries"))}
    else:
        tokens = sum(f["tokens"] for f in judged.values())
        found |= {k: sum(f[k] * f["tokens"] for f in judged.values()) / tokens for k in ("kl", "top1") if tokens}
        found |= {"bytes": quantize.get("tensor_bytes"), "canaries": answered(final.get("canaries"))}
        found["perplexity"] = {d: f["perplexity"] for d, f in judged.items()}
        found["tokens_per_second"] = (known.get("headline") or {}).get("tokens_per_second")
    return {k: v for k, v in found.items() if v not in (None, {})}


def parameters(state: State) -> int:
    """Weights held: removed nodes not counted, masked weights counted."""
    return sum(math.prod(spec.shape) for spec in state.weights.specs.values())


def macs_per_token(state: State) -> int:
    """Multiply-accumulates per token in linear layers and the output head, as ``model.shrink`` counts them."""
    specs, names = state.weights.specs, linear_weights(state)
    embedding = specs[f"{architecture_of(state.config).embedding}.weight"]
    masked = sum(int((~state.masks[f"weight.{n}"]).sum()) for n in names if f"weight.{n}" in state.masks)
    return sum(math.prod(specs[n].shape) for n in names) + math.prod(embedding.shape) - masked


def linear_weights(state: State) -> dict[str, int]:
    """Weight of every linear layer inside the decoder blocks -> the number of its block."""
    architecture = architecture_of(state.config)
    layers = int(state.config.get("num_hidden_layers") or state.config["n_layer"])
    return {f"{name}.weight": layer for layer in range(layers) for name in architecture.linears(layer)}


def sparsity(state: State) -> dict[int, float]:
    """Layer -> share of its linear layers' weights that weight masks set to zero; layers without any are left out."""
    masked: dict[int, int] = {}
    total: dict[int, int] = {}
    for name, layer in linear_weights(state).items():
        total[layer] = total.get(layer, 0) + math.prod(state.weights.specs[name].shape)
        if f"weight.{name}" in state.masks:
            masked[layer] = masked.get(layer, 0) + int((~state.masks[f"weight.{name}"]).sum())
    return {layer: count / total[layer] for layer, count in masked.items() if count}


def answered(canaries: dict | None) -> float | None:
    """Share of all canaries answered right, from a report's figures per domain."""
    if not canaries:
        return None
    prompts = sum(c["prompts"] for c in canaries.values())
    return sum(c["prompts"] * c["accuracy"] for c in canaries.values()) / prompts
