"""Every matrix of a checkpoint onto GGUF grids: what each type would cost, and the rounding
itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.budget import Option
from birdbone.algo.gptq import (
    Compensation,
    Rounded,
    compensation,
    masked,
    round_best,
    round_nearest,
)
from birdbone.algo.grids import GRIDS, Grid, fitting
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.folder import fits
from birdbone.model.observing.moments import SecondMoments, check_tokens
from birdbone.model.rounding.embedding import COMPENSATED_BITS, outer_matrices, outer_roundings
from birdbone.model.rounding.equalize import Scales, equalize
from birdbone.model.rounding.settings import RoundSettings
from birdbone.model.scores import Scores
from birdbone.progress import track

WIDE, WIDEST = "F16", "F32"
"""Types of a matrix whose rows no grid divides: the second where the first cannot hold its values.
"""


class Rounder:
    """Every matrix of a checkpoint on every allowed grid: what each costs, and its bytes.

    All is worked out at once, layer by layer in one pass over the calibration text, so that only
    one layer's moments are held. ``options`` then lists the prices and ``apply`` makes the
    checkpoint that a runtime would see. ``checkpoint`` is the one given, its columns equalized
    where that rounds better.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        calibration: Tensor,
        second_moments: SecondMoments,
        scores: Scores,
        settings: RoundSettings,
        device: str,
    ) -> None:
        """Does all the work."""
        self.checkpoint, self.settings = checkpoint, settings
        self.options: dict[str, list[Option]] = {}
        """Per tensor, each allowed type with its bytes and predicted cost in nats per token of the
        held-out quarter of the text: ½ Σ_o fisher_o · mean_t w_t (ΔW_o x_t)²; for embedding and
        head as measured.
        """
        self._packed: dict[tuple[str, str], Tensor] = {}
        fisher = scores.fisher_left(checkpoint)
        layers = second_moments.of(checkpoint, calibration, scores.tokens, device)
        changed: dict[str, Tensor] = {}
        for layer, fit, check in track(
            layers, f"round ({settings.method})", checkpoint.layers, "block"
        ):
            names = checkpoint.layout.blocks[layer].linears
            scales = Scales()
            compensations = {
                name: self._compensations(fit[name])
                for name in names
                if self._types(f"{name}.weight")
            }
            if settings.equalize and settings.method == "gptq" and len(compensations) == len(names):
                scales = equalize(checkpoint, layer, compensations, check, settings.types)
            new = scales.changed(checkpoint)
            changed |= new
            for name in names:
                weight = new.get(f"{name}.weight", checkpoint.weights[f"{name}.weight"])
                scaled = scales.compensations(name, compensations.get(name, []))
                cost = scales.fisher(name, fisher[name]) / check_tokens(calibration)
                self._price(name, weight, scaled, scales.moment(name, check[name]), cost)
        self.checkpoint = checkpoint.evolve(changed)
        self._vectors = {n: w for n, w in changed.items() if w.dim() == 1}
        for name in outer_matrices(checkpoint):
            self.options[name] = []
        for name, grid, rounded, cost in outer_roundings(checkpoint, calibration, settings, device):
            self._offer(name, grid, rounded, cost)
        for name, options in self.options.items():
            if not options:
                options.append(_unrounded(checkpoint.weights[name]))

    def apply(self, types: dict[str, str]) -> tuple[Checkpoint, dict[str, Tensor]]:
        """(the checkpoint with the weights a runtime would see, packed bytes per tensor and the
        vectors that equalizing changed, float32). types: one per option.
        """
        packed = {n: self._packed[n, t] for n, t in types.items() if t in GRIDS} | self._vectors
        return dequantized(self.checkpoint, packed, types), packed

    def _compensations(self, fit: Tensor) -> list[Compensation]:
        """One per order of the columns; none where llama.cpp's own rounding is asked for."""
        if self.settings.method != "gptq":
            return []
        orders = [compensation(fit, self.settings.damping, order) for order in self.settings.orders]
        return [each._replace(moment=orders[0].moment) for each in orders]  # one copy of it

    def _price(
        self,
        module: str,
        weight: Tensor,
        compensations: list[Compensation],
        check: Tensor,
        fisher: Tensor,
    ) -> None:
        name = f"{module}.weight"
        types, mask = self._types(name), self.checkpoint.masks.weights.get(name)
        self.options[name] = []
        for grid in sorted((GRIDS[t] for t in types), key=lambda g: g.bits_per_weight):
            if not compensations or grid.bits_per_weight > COMPENSATED_BITS:
                rounded = rounded_nearest(weight, grid, mask)
            else:
                rounded, compensations = round_best(weight, compensations, check, grid, mask)
            change = rounded.weight - weight
            self._offer(
                name,
                grid,
                rounded,
                float(0.5 * (fisher * ((change @ check) * change).sum(1)).sum()),
            )

    def _types(self, name: str) -> list[str]:
        """The grids that a matrix may take: those that divide its rows, and have a zero where it
        has a mask.
        """
        masked = name in self.checkpoint.masks.weights
        columns = self.checkpoint.weights[name].shape[1]
        columns = self.checkpoint.layout.unbroken(name.removesuffix(".weight"), columns)
        return [t for t in fitting(self.settings.types, columns) if not masked or GRIDS[t].has_zero]

    def _offer(self, name: str, grid: Grid, rounded: Rounded, cost: float) -> None:
        self._packed[name, grid.name] = grid.pack(rounded.codes, rounded.scales)
        self.options[name].append(Option(grid.name, self._packed[name, grid.name].numel(), cost))


def _unrounded(weight: Tensor) -> Option:
    half = fits(weight, torch.float16)
    return Option(WIDE if half else WIDEST, (2 if half else 4) * weight.numel(), 0.0)


def rounded_nearest(weight: Tensor, grid: Grid, mask: Tensor | None) -> Rounded:
    """A matrix as llama.cpp rounds it; what a mask removed stays zero."""
    rounded = round_nearest(weight, grid)
    return rounded if mask is None else masked(rounded, mask, grid)


def dequantized(
    checkpoint: Checkpoint, packed: dict[str, Tensor], types: dict[str, str]
) -> Checkpoint:
    """The checkpoint with the weights that the packed bytes stand for; F16 ones rounded to half
    precision.
    """
    weights = {n: GRIDS[types[n]].dequantize(p) for n, p in packed.items() if n in types}
    weights |= {n: checkpoint.weights[n].half().float() for n, t in types.items() if t == WIDE}
    return with_vectors(checkpoint, packed, types).evolve(weights)


def with_vectors(
    checkpoint: Checkpoint, packed: dict[str, Tensor], types: dict[str, str]
) -> Checkpoint:
    """The checkpoint with the norms and biases that equalizing changed: those of ``packed`` without
    a type.
    """
    return checkpoint.evolve({n: p for n, p in packed.items() if n not in types})
