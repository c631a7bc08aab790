"""The figures of a bundle: size, speed, perplexity, canaries and the guard's verdict, before and after."""

from __future__ import annotations

import math

from birdbone.diff.revisions import Side
from birdbone.diff.states import State
from birdbone.model.layout import Layout
from birdbone.model.masks import weight_name

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
    """Multiply-accumulates per token in linear layers and the output head, as ``Checkpoint`` counts them."""
    shapes = {name: spec.shape for name, spec in state.weights.specs.items()}
    layout = Layout(state.config)
    return layout.macs_per_token(shapes, sum(_masked(state, f"{module}.weight") for module in layout.linears))


def sparsity(state: State) -> dict[int, float]:
    """Layer -> share of its linear layers' weights that weight masks set to zero; layers without any are left out."""
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
