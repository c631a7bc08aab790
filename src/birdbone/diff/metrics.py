"""A bundle's figures, before and after: size, speed, perplexity, canaries, the guard's verdict."""

from __future__ import annotations

import math

from birdbone.diff.revisions import Side
from birdbone.diff.states import State
from birdbone.model.layout import Layout
from birdbone.model.masks import weight_name

NOT_JUDGED = "not judged"


def metrics(old: Side, new: Side) -> dict:
    """``metrics.json``: before, after, verdict, and where known the worst change and its limit."""
    final = new.records.figures.get("final") or {}
    judged = bool(final) and not new.records.figures.get("is_seed")
    return {
        "before": figures_of(old),
        "after": figures_of(new),
        "verdict": ("accepted" if final["accepted"] else "rejected") if judged else NOT_JUDGED,
        **{k: final[k] for k in ("worst_domain", "worst_change", "limit") if judged and k in final},
    }


def figures_of(side: Side) -> dict:
    """The figures of one side: parameters from its tensors, all others from its reports."""
    figures = {"parameters": parameters(side.state), "macs_per_token": macs_per_token(side.state)}
    reports = side.records.figures
    seed, final, quantize = (reports.get(k) or {} for k in ("seed", "final", "quantize"))
    judged = final.get("domains", {})
    if reports.get("is_seed"):
        perplexity = {d: f["seed_perplexity"] for d, f in judged.items()}
        figures |= {
            "bytes": seed.get("bytes_f16"),
            "perplexity": perplexity,
            "canaries": answered(seed.get("canaries")),
        }
    else:
        tokens = sum(f["tokens"] for f in judged.values())
        figures |= {
            k: sum(f[k] * f["tokens"] for f in judged.values()) / tokens
            for k in ("kl", "top1")
            if tokens
        }
        figures |= {
            "bytes": quantize.get("tensor_bytes"),
            "canaries": answered(final.get("canaries")),
        }
        figures["perplexity"] = {d: f["perplexity"] for d, f in judged.items()}
        figures["tokens_per_second"] = (reports.get("headline") or {}).get("tokens_per_second")
    return {k: v for k, v in figures.items() if v not in (None, {})}


def parameters(state: State) -> int:
    """Number of stored weights: without removed nodes, with masked weights."""
    return sum(math.prod(spec.shape) for spec in state.weights.specs.values())


def macs_per_token(state: State) -> int:
    """Multiply-accumulates per token in linear layers and head, as ``Checkpoint`` counts them."""
    shapes = {name: spec.shape for name, spec in state.weights.specs.items()}
    layout = Layout(state.config)
    return layout.macs_per_token(
        shapes, sum(_masked(state, f"{module}.weight") for module in layout.linears)
    )


def sparsity(state: State) -> dict[int, float]:
    """Layer -> share of its linear weights that masks set to zero; unmasked layers are left out."""
    shares = {}
    for block in Layout(state.config).blocks:
        names = [f"{module}.weight" for module in block.linears]
        total = sum(math.prod(state.weights.specs[name].shape) for name in names)
        shares[block.layer] = sum(_masked(state, name) for name in names) / total
    return {layer: share for layer, share in shares.items() if share}


def _masked(state: State, tensor: str) -> int:
    mask = weight_name(tensor)
    return int((~state.masks[mask]).sum()) if mask in state.masks else 0


def answered(canaries: dict | None) -> float | None:
    """Share of all canaries answered right, from a report's figures per domain."""
    if not canaries:
        return None
    prompts = sum(c["prompts"] for c in canaries.values())
    return sum(c["prompts"] * c["accuracy"] for c in canaries.values()) / prompts
