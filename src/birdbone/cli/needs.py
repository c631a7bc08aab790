"""What a run needs and cannot reach: memory, disk, the export's bytes, and what to know before it
starts.

Counts come from the parameters and the model's shapes alone.
"""

from __future__ import annotations

import math

from birdbone.algo.budget import bytes_allowed, needed_sparsity
from birdbone.algo.grids import GRIDS, fewest_bits, fitting
from birdbone.gguf.keys import shorter_context
from birdbone.model.family import family_of, supports_uneven
from birdbone.model.network import hf_config
from birdbone.model.rounding.embedding import outer_types
from birdbone.parameters import Parameters
from birdbone.sources.shape import ModelShape

K_QUANT_ROW = 256


def memory(p: Parameters, shape: ModelShape) -> int:
    """Peak of the heaviest stage: two networks, a healing step with AdamW, or rounding with a
    layer's moments.
    """
    step = p.micro_heal.batch * p.text.window * 4 * shape.layers * 30 * shape.hidden
    if p.micro_heal.steps * p.micro_heal.batch * p.text.window >= 2 * p.text.heal_tokens:
        step += 4 * p.text.heal_tokens * shape.hidden  # the teacher's states, kept
    if p.micro_heal.method == "full":
        step += 4 * 4 * shape.block  # a copy that learns, its gradient and AdamW's two moments
    moments = (3 + len(p.quantize.orders)) * 4 * shape.square / shape.layers
    offered = sum(
        weights * GRIDS[t].bits_per_weight / 8
        for row, weights in shape.inner.items()
        for t in fitting(p.quantize.types, row)
    )  # every type of every tensor, until one is chosen
    return int(1950e6 + 3 * 4 * shape.parameters + max(step, moments, offered))


def disk(p: Parameters, shape: ModelShape) -> int:
    """Seed, two full states per wave, the exports, the temporary f16 and f32 files, the kept second
    moments.
    """
    files = (
        4 * shape.parameters * (1 + 2 * p.waves) + 2 * shape.parameters * 3 + 4 * shape.parameters
    )
    return files + 2 * 4 * shape.square


def export_bytes(p: Parameters, shape: ModelShape) -> tuple[int, int]:
    """Smallest and largest the GGUF's tensors can come out, over the allowed types and the
    sparsity.
    """
    left = 1 - min(_target(p, shape), reachable(p, shape))
    low, high = _least_outer(p, shape), shape.outer * _most_bits(_outer_types(p), shape.hidden) / 8
    for row, weights in shape.inner.items():
        low += left * weights * fewest_bits(p.quantize.types, row) / 8
        high += weights * _most_bits(p.quantize.types, row) / 8
    return int(low), int(high)


def _most_bits(types: list[str], columns: int) -> float:
    return max((GRIDS[t].bits_per_weight for t in fitting(types, columns)), default=16.0)


def _target(p: Parameters, shape: ModelShape) -> float:
    """Share of the block weights to remove: what is asked, or what ``target_bytes`` takes."""
    allowed = bytes_allowed(p.target_bytes, shape.bytes_f16)
    if allowed is None:
        return p.target_sparsity
    least = sum(
        weights
        * fewest_bits(
            p.quantize.types, row if row == shape.hidden else math.gcd(row, p.prune_wave.multiple)
        )
        for row, weights in shape.inner.items()
    )
    needed = needed_sparsity(allowed, _least_outer(p, shape), shape.block, least / shape.block)
    return max(p.target_sparsity, needed)


def _least_outer(p: Parameters, shape: ModelShape) -> int:
    """Bytes of embedding and head at the fewest bits they may have."""
    return int(shape.outer * fewest_bits(_outer_types(p), shape.hidden) / 8)


def _outer_types(p: Parameters) -> list[str]:
    return outer_types(p.quantize.types, p.quantize.embedding)


def reachable(p: Parameters, shape: ModelShape) -> float:
    """The most of the block weights that ``waves`` of ``step`` can remove, neurons alone, each
    within the cap.
    """
    capped = 1 - (1 - p.prune_wave.cluster_cap) ** p.waves
    return min(p.waves * p.prune_wave.step, capped * shape.neurons / shape.block)


def warnings(p: Parameters, shape: ModelShape) -> list[str]:
    found = []
    target, most = _target(p, shape), reachable(p, shape)
    if p.target_bytes is not None and target >= 1:
        found.append(
            f"unreachable: target_bytes {bytes_allowed(p.target_bytes, shape.bytes_f16):,} is less "
            f"than the embedding alone at {fewest_bits(_outer_types(p), shape.hidden)} bits a "
            f"weight ({_least_outer(p, shape):,})"
        )
    if target > most:
        found.append(
            f"unreachable: {target:.1%} of the block weights is asked, {p.waves} waves remove "
            f"{most:.1%} at most (raise waves, prune_wave.step or prune_wave.cluster_cap)"
        )
    if wide := sum(
        weights for row, weights in shape.inner.items() if not fitting(p.quantize.types, row)
    ):
        found.append(
            f"type substitution: {wide / shape.block:.0%} of the block weights stay F16, no type "
            "of quantize.types divides their rows"
        )
    if not fitting(_outer_types(p), shape.hidden):
        found.append(
            f"type substitution: embedding and head stay F16, {', '.join(_outer_types(p))} does "
            "not fit them"
        )
    fit_all = fitting(fitting(p.quantize.types, shape.hidden), max(shape.inner))
    if lost := [t for t in fit_all if not GRIDS[t].fits(p.prune_wave.multiple)]:
        found.append(
            "types lost to pruning: a narrowed layer's down projection can no longer be "
            f"{', '.join(lost)} (prune_wave.multiple is {p.prune_wave.multiple}; "
            f"{max(GRIDS[t].unit for t in lost)} keeps them)"
        )
    if (kinds := [k for k in p.report.peers if "_K" in k]) and (
        odd := sum(c for r, c in shape.rows.items() if r % K_QUANT_ROW)
    ):
        found.append(
            f"type substitution: llama.cpp's own {', '.join(kinds)} (a peer, not ours) will store "
            f"{odd} of {sum(shape.rows.values())} matrices as other types, their rows are no "
            f"multiple of {K_QUANT_ROW}"
        )
    if p.widths == "uneven" and not supports_uneven(shape.config):
        found.append(
            f"widths: stock llama.cpp has no uneven {shape.config['model_type']}; they will stay "
            "even"
        )
    if shorter := shorter_context(family_of(shape.config).gguf, hf_config(shape.config)):
        found.append(shorter)
    return found
