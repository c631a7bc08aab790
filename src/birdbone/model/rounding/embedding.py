"""Embedding and head onto GGUF grids: compensated for what the head reads, priced by what the model
then says.

A tied embedding is read twice, as rows by the tokens and as a matrix by the last hidden states. The
second is like any linear layer's input; for the first no error but its size counts, hence the
strong damping.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from birdbone.algo.gptq import Rounded, compensation, round_best, round_nearest
from birdbone.algo.grids import GRIDS, Grid, fitting
from birdbone.algo.moments import second_moment
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.evaluate import compare
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.network import build, device_of
from birdbone.model.observing.moments import held_out
from birdbone.model.rounding.settings import RoundSettings

TIED_DAMPING = 1.0
PRICED_TOKENS = 2048
"""Held-out tokens on which each type is measured."""
COMPENSATED_BITS = 8
"""Above this many bits per weight there is nothing for error compensation to win."""


def outer_matrices(checkpoint: Checkpoint) -> list[str]:
    """Embedding, untied head, and what else lies outside the blocks."""
    layout = checkpoint.layout
    return [n for n in (layout.embedding, layout.head, *layout.outer) if n in checkpoint.weights]


def outer_types(types: list[str], embedding: str) -> list[str]:
    """Types that embedding and head may take: the blocks' own, or the one that
    ``quantize.embedding`` names.
    """
    return types if embedding == "auto" else [embedding]


def outer_roundings(
    checkpoint: Checkpoint, calibration: Tensor, settings: RoundSettings, device: str
) -> Iterator[tuple[str, Grid, Rounded, float]]:
    """(tensor, grid, rounding, cost) of embedding and head on each type they may take.

    calibration: token windows [N, T]. The cost is KL(checkpoint || checkpoint with this tensor
    rounded), in nats per token of held-out windows; 0, unmeasured, where ``settings.embedding``
    names the one type. Matrices whose rows no grid divides are left out.
    """
    auto, kinds = settings.embedding == "auto", outer_types(settings.types, settings.embedding)
    fits = {n: fitting(kinds, checkpoint.weights[n].shape[1]) for n in outer_matrices(checkpoint)}
    fit, check = held_out(calibration)
    check = check[: -(-PRICED_TOKENS // check.shape[1])]
    network = build(checkpoint, device)
    compensated = settings.method == "gptq" and any(_coarse(GRIDS[k]) for k in kinds)
    read = [final_states(network, w, "round: what the head reads") for w in (fit, check)] if auto or compensated else []
    moments = [second_moment(states.flatten(0, 1)) for states in read]
    reference = Reference(checkpoint, {"check": read[1]} if read else {})
    for name, types in fits.items():
        weight = checkpoint.weights[name]
        tied = checkpoint.layout.head not in checkpoint.weights
        head = name == (checkpoint.layout.embedding if tied else checkpoint.layout.head)
        compensations = []
        if compensated and head:
            compensations = [compensation(moments[0], max(settings.damping, TIED_DAMPING if tied else 0.0))]
        for kind in types:
            grid = GRIDS[kind]
            use = compensations and _coarse(grid)
            rounded = round_best(weight, compensations, moments[1], grid)[0] if use else round_nearest(weight, grid)
            cost = 0.0
            if auto:
                other = build(checkpoint.evolve({name: rounded.weight}), device)
                seed_logits = partial(reference.logits, "check", device=device_of(other))
                measured = compare(other, seed_logits, check, f"round: price {name} as {kind}")
                cost = float(measured["kl"].sum()) / (len(check) * (check.shape[1] - 1))
            yield name, grid, rounded, cost


def _coarse(grid: Grid) -> bool:
    return grid.bits_per_weight <= COMPENSATED_BITS
