"""What a run will cost, before it starts: minutes, memory, disk, bytes, and what cannot be reached.

Counts come from the parameters and the model's shapes alone; the machine's speed from one short
matrix product. Predictions, not promises: the factors below are those of one quiet run of the default on two cores.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass

import torch

from birdbone.algo.budget import bytes_allowed, needed_sparsity
from birdbone.algo.grids import GRIDS, fewest_bits, fitting
from birdbone.cli.shapes import ModelShape, model_shape
from birdbone.gguf.keys import shorter_context
from birdbone.model.family import family_of, supports_uneven
from birdbone.model.network import hf_config
from birdbone.model.rounding.embedding import COMPENSATED_BITS, PRICED_TOKENS, outer_types
from birdbone.parameters import Parameters
from birdbone.run.checks import check_model, check_outside, quick_tokenizer
from birdbone.sources.locate import locate

EFFICIENCY = 0.42
"""Share of the matrix product's speed that a whole forward pass reaches."""
SCAN, HEAL, MOMENTS, JUDGE, STATES, WRITE = 3.0, 1.9, 1.4, 0.85, 0.8, 1.16
"""Cost in forward passes of a token scanned, healed on, summed to second moments, judged, kept as the seed's
final state, and written by the seed."""
AT_REST = 0.06
"""Share of a control's cost where healing has nothing to do."""
ROUNDED = 3300
"""Weights rounded with error compensation in the time of one token."""
CANARY_TOKENS = 8000
FIXED = 4
"""Seconds of a stage that no model's size changes."""
K_QUANT_ROW = 256


@dataclass(frozen=True)
class Plan:
    """Predictions: minutes per stage, memory and disk in bytes, the export's bytes, and warnings."""

    name: str
    shape: ModelShape
    minutes: dict[str, float]
    memory: int
    disk: int
    bytes_f16: int
    bytes_range: tuple[int, int]
    warnings: list[str]


def make_plan(parameters: Parameters) -> Plan:
    """The plan of a whole run under these parameters. Raises what that run would at its start."""
    presets = {n: p.model_dump(exclude_none=True) for n, p in parameters.models.items()}
    tree = {**parameters.model_dump(), "models": presets}
    check_outside(tree)
    source = locate(parameters.model, presets)
    shape = model_shape(source)
    check_model(tree, (), shape.config, quick_tokenizer(source))
    rate = _tokens_per_second(shape)
    return Plan(
        source["name"],
        shape,
        {stage: (tokens / rate + FIXED) / 60 for stage, tokens in _forward_tokens(parameters, shape).items()},
        _memory(parameters, shape),
        _disk(parameters, shape),
        shape.bytes_f16,
        _export_bytes(parameters, shape),
        _warnings(parameters, shape),
    )


def _forward_tokens(p: Parameters, shape: ModelShape) -> dict[str, float]:
    """Work of each stage in tokens passed forward through the model once."""
    text, domains = p.text, len(p.text.guard_domains)
    guard, test = domains * text.guard_tokens, domains * text.test_tokens
    heal = p.micro_heal.steps * p.micro_heal.batch * text.window * HEAL
    control = (p.waves * heal + JUDGE * (guard + test) + CANARY_TOKENS) if p.guard.control else 0
    if p.micro_heal.ce_weight == 0 and p.micro_heal.base == "float32":
        control *= AT_REST  # the seed is already what it is healed towards
    written = text.written_share * (text.calibration_tokens + text.heal_tokens)
    rounded, kinds = 0, _outer_types(p)
    if p.quantize.method == "gptq":
        rounded = _coarse(kinds, _hidden(shape)) * shape.outer
        for row, weights in shape.inner.items():
            if coarse := _coarse(p.quantize.types, row):  # all orders on the coarsest, the better one on the rest
                rounded += (coarse - 1 + len(p.quantize.orders)) * weights
    priced = text.calibration_tokens * STATES + len(fitting(kinds, _hidden(shape))) * PRICED_TOKENS * JUDGE
    files = (3 + len(p.report.peers)) * (
        domains * p.export.perplexity_tokens * 3 + 12 * (128 + 4 * p.export.speed_tokens)
    )
    return {
        "load the seed and measure it": written * WRITE + STATES * (guard + test) + CANARY_TOKENS + 12_000,
        "look (activations, scan, topology)": text.calibration_tokens * (SCAN + MOMENTS) + 190 * shape.layers,
        "control (heal the seed itself)": control,
        f"{p.waves} waves": p.waves
        * (text.calibration_tokens * MOMENTS + heal + JUDGE * guard + CANARY_TOKENS + p.regrow.tokens),
        "quantize": text.calibration_tokens * MOMENTS + p.quantize.trials * JUDGE * guard + priced + rounded / ROUNDED,
        "export and referee": 3 * p.export.perplexity_tokens + 12_000,
        "report (peers, test text)": files + JUDGE * test + CANARY_TOKENS + 10_000,
    }


def _coarse(types: list[str], columns: int) -> int:
    return sum(GRIDS[t].bits_per_weight <= COMPENSATED_BITS for t in fitting(types, columns))


def _tokens_per_second(shape: ModelShape) -> float:
    """Forward speed on this machine, from a matrix product of the model's own kind of size."""
    a, b = torch.randn(512, 1024), torch.randn(1024, 1024)
    for _ in range(3):
        a @ b
    took = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(8):
            a @ b
        took.append(time.perf_counter() - start)
    flops = 8 * 2 * 512 * 1024 * 1024 / min(took)  # the least disturbed try
    return EFFICIENCY * flops / (2 * (shape.block + shape.outer))


def _memory(p: Parameters, shape: ModelShape) -> int:
    """Peak of the heaviest stage: two networks, a healing step with AdamW, or rounding with a layer's moments."""
    step = p.micro_heal.batch * p.text.window * 4 * shape.layers * 30 * _hidden(shape)
    if p.micro_heal.steps * p.micro_heal.batch * p.text.window >= 2 * p.text.heal_tokens:
        step += 4 * p.text.heal_tokens * _hidden(shape)  # the teacher's states, kept
    if p.micro_heal.method == "full":
        step += 4 * 4 * shape.block  # a copy that learns, its gradient and AdamW's two moments
    moments = (3 + len(p.quantize.orders)) * 4 * shape.square / shape.layers
    offered = sum(
        weights * GRIDS[t].bits_per_weight / 8
        for row, weights in shape.inner.items()
        for t in fitting(p.quantize.types, row)
    )  # every type of every tensor, until one is chosen
    return int(1950e6 + 3 * 4 * shape.parameters + max(step, moments, offered))


def _disk(p: Parameters, shape: ModelShape) -> int:
    """Seed, two full states per wave, the exports, the temporary f16 and f32 files, the kept second moments."""
    files = 4 * shape.parameters * (1 + 2 * p.waves) + 2 * shape.parameters * 3 + 4 * shape.parameters
    return files + 2 * 4 * shape.square


def _export_bytes(p: Parameters, shape: ModelShape) -> tuple[int, int]:
    """Smallest and largest the GGUF's tensors can come out, over the allowed types and the sparsity."""
    left = 1 - min(_target(p, shape), reachable(p, shape))
    low, high = _least_outer(p, shape), shape.outer * _most_bits(_outer_types(p), _hidden(shape)) / 8
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
        weights * fewest_bits(p.quantize.types, row if row == _hidden(shape) else math.gcd(row, p.prune_wave.multiple))
        for row, weights in shape.inner.items()
    )
    needed = needed_sparsity(allowed, _least_outer(p, shape), shape.block, least / shape.block)
    return max(p.target_sparsity, needed)


def _least_outer(p: Parameters, shape: ModelShape) -> int:
    """Bytes of embedding and head at the fewest bits they may have."""
    return int(shape.outer * fewest_bits(_outer_types(p), _hidden(shape)) / 8)


def _outer_types(p: Parameters) -> list[str]:
    return outer_types(p.quantize.types, p.quantize.embedding)


def reachable(p: Parameters, shape: ModelShape) -> float:
    """The most of the block weights that ``waves`` of ``step`` can remove, neurons alone, each within the cap."""
    capped = 1 - (1 - p.prune_wave.cluster_cap) ** p.waves
    return min(p.waves * p.prune_wave.step, capped * shape.neurons / shape.block)


def _warnings(p: Parameters, shape: ModelShape) -> list[str]:
    found = []
    target, most = _target(p, shape), reachable(p, shape)
    if p.target_bytes is not None and target >= 1:
        found.append(
            f"unreachable: target_bytes {bytes_allowed(p.target_bytes, shape.bytes_f16):,} is less than the embedding "
            f"alone at {fewest_bits(_outer_types(p), _hidden(shape))} bits a weight ({_least_outer(p, shape):,})"
        )
    if target > most:
        found.append(
            f"unreachable: {target:.1%} of the block weights is asked, {p.waves} waves remove {most:.1%} at most "
            "(raise waves, prune_wave.step or prune_wave.cluster_cap)"
        )
    if wide := sum(weights for row, weights in shape.inner.items() if not fitting(p.quantize.types, row)):
        found.append(
            f"type substitution: {wide / shape.block:.0%} of the block weights stay F16, no type of quantize.types "
            "divides their rows"
        )
    if not fitting(_outer_types(p), _hidden(shape)):
        found.append(f"type substitution: embedding and head stay F16, {', '.join(_outer_types(p))} does not fit them")
    fit_all = fitting(fitting(p.quantize.types, _hidden(shape)), max(shape.inner))
    if lost := [t for t in fit_all if not GRIDS[t].fits(p.prune_wave.multiple)]:
        found.append(
            f"types lost to pruning: a narrowed layer's down projection can no longer be {', '.join(lost)} "
            f"(prune_wave.multiple is {p.prune_wave.multiple}; {max(GRIDS[t].unit for t in lost)} keeps them)"
        )
    if (kinds := [k for k in p.report.peers if "_K" in k]) and (
        odd := sum(c for r, c in shape.rows.items() if r % K_QUANT_ROW)
    ):
        found.append(
            f"type substitution: llama.cpp's own {', '.join(kinds)} (a peer, not ours) will store {odd} of "
            f"{sum(shape.rows.values())} matrices as other types, their rows are no multiple of {K_QUANT_ROW}"
        )
    if p.widths == "uneven" and not supports_uneven(shape.config):
        found.append(f"widths: stock llama.cpp has no uneven {shape.config['model_type']}; they will stay even")
    if shorter := shorter_context(family_of(shape.config).gguf, hf_config(shape.config)):
        found.append(shorter)
    return found


def _hidden(shape: ModelShape) -> int:
    return int(shape.config.get("hidden_size") or shape.config.get("n_embd") or min(shape.rows))


def to_json(plan: Plan) -> str:
    """The plan for machines."""
    return json.dumps(
        {
            "model": plan.name,
            "minutes": plan.minutes,
            "memory_bytes": plan.memory,
            "disk_bytes": plan.disk,
            "f16_bytes": plan.bytes_f16,
            "export_bytes": plan.bytes_range,
            "warnings": plan.warnings,
        },
        indent=1,
    )
