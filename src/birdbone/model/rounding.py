"""Every matrix of a checkpoint onto GGUF grids: what each type would cost, and the rounding itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from birdbone.algo.budget import Option
from birdbone.algo.gptq import Rounded, masked, round_best, round_nearest
from birdbone.algo.grids import BLOCK, GRIDS
from birdbone.model.architecture import architecture_of
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.moments import CACHE, check_tokens, moments
from birdbone.model.shrink import node_masks
from birdbone.progress import track

WIDE = "F16"
"""Type of a matrix whose rows no grid divides."""


@dataclass(frozen=True)
class Inputs:
    """What rounding needs to know of one linear layer: its name, its inputs' moments, and its mask."""

    name: str
    moment: Tensor
    check: Tensor
    mask: Tensor | None


class Rounder:
    """Rounds a checkpoint's linear layers, keeping every (tensor, type) it has once worked out.

    One pass over the calibration text gives the second moments; ``options`` prices each type for
    each tensor, ``apply`` makes the checkpoint a runtime would see.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        calibration: Tensor,
        scores: dict[str, Tensor],
        settings: dict,
        cap: float | None,
        device: str,
    ) -> None:
        self.checkpoint, self.settings = checkpoint, settings
        self._check_tokens = check_tokens(calibration)
        self._fisher = narrowed_fisher(checkpoint, scores)
        self._layers: dict[str, Inputs] = {}
        self._done: dict[tuple[str, str, str], Tensor] = {}
        architecture = architecture_of(checkpoint.config)
        for layer, fit, check in moments(checkpoint, calibration, cap, device, CACHE):
            for first, modules in architecture.inputs_of(layer).items():
                for module in modules:
                    name = f"{module}.weight"
                    self._layers[name] = Inputs(name, fit[first], check[first], checkpoint.masks.get(f"weight.{name}"))

    def options(self) -> dict[str, list[Option]]:
        """Per tensor, each allowed type with its bytes and predicted cost in nats per token:
        ½ Σ_o fisher_o · mean_t (ΔW_o x_t)², ΔW from nearest rounding.
        """
        found = {}
        for name, layer in track(self._layers.items(), "price the types", unit="tensor"):
            weight = self.checkpoint.weights[name]
            types = [t for t in self.settings["types"] if layer.mask is None or GRIDS[t].has_zero]
            if weight.shape[1] % BLOCK or not types:
                found[name] = [Option(WIDE, 2 * weight.numel(), 0.0)]
                continue
            found[name] = [
                Option(t, weight.numel() // BLOCK * GRIDS[t].block_bytes, self._cost(layer, t)) for t in types
            ]
        return found

    def apply(self, types: dict[str, str], method: str) -> tuple[Checkpoint, dict[str, Tensor]]:
        """(the checkpoint with the weights a runtime would see, packed bytes per tensor), embedding included.

        method: ``gptq`` or ``nearest``, for tensors below eight bits; the others are rounded to nearest.
        """
        outer = {n: t for n, t in self.outer_types().items() if t in GRIDS}
        inner = {n: t for n, t in types.items() if t in GRIDS}
        packed = {n: self._packed(n, t, method) for n, t in track(inner.items(), f"round ({method})", unit="tensor")}
        packed |= {n: self._packed(n, t, "nearest") for n, t in outer.items()}
        return dequantized(self.checkpoint, packed, {**types, **self.outer_types()}), packed

    def outer_types(self) -> dict[str, str]:
        """Types of the embedding and, where it is not tied, the head."""
        fits = {n: self.checkpoint.weights[n].shape[1] % BLOCK == 0 for n in outer_matrices(self.checkpoint)}
        return {n: self.settings["embedding"] if fit else WIDE for n, fit in fits.items()}

    def _packed(self, name: str, kind: str, method: str) -> Tensor:
        """The tensor's bytes [rows, bytes] on a grid, worked out once."""
        key = (name, kind, "nearest" if GRIDS[kind].bits_per_weight > 8 else method)
        if key not in self._done:
            self._done[key] = GRIDS[kind].pack(*self._round(*key)[:2])
        return self._done[key]

    def _round(self, name: str, kind: str, method: str) -> Rounded:
        weight, grid = self.checkpoint.weights[name], GRIDS[kind]
        if method == "nearest":
            mask = self.checkpoint.masks.get(f"weight.{name}")
            rounded = round_nearest(weight, grid)
            return rounded if mask is None else masked(rounded, mask, grid)
        layer = self._layers[name]
        return round_best(weight, layer.moment, layer.check, grid, self.settings["damping"], layer.mask)

    def _cost(self, layer: Inputs, kind: str) -> float:
        weight = self.checkpoint.weights[layer.name]
        change = round_nearest(weight, GRIDS[kind]).weight - weight
        errors = ((change @ layer.check) * change).sum(1) / self._check_tokens
        return float(0.5 * (self._fisher[layer.name.removesuffix(".weight")] * errors).sum())


def outer_matrices(checkpoint: Checkpoint) -> list[str]:
    """Embedding and untied head."""
    architecture = architecture_of(checkpoint.config)
    names = [f"{architecture.embedding}.weight", f"{architecture.head}.weight"]
    return [n for n in names if n in checkpoint.weights]


def dequantized(checkpoint: Checkpoint, packed: dict[str, Tensor], types: dict[str, str]) -> Checkpoint:
    """The checkpoint with the weights that the packed bytes stand for; F16 ones rounded to half precision."""
    weights = {n: GRIDS[types[n]].dequantize(p) for n, p in packed.items()}
    weights |= {n: checkpoint.weights[n].half().float() for n, t in types.items() if t == WIDE}
    return checkpoint.evolve(weights)


def narrowed_fisher(checkpoint: Checkpoint, scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """``fisher.<module>`` over the outputs that are left after node removal."""
    architecture, masks = architecture_of(checkpoint.config), node_masks(checkpoint)
    size = architecture.head_size(checkpoint.config)
    shared = architecture.heads(checkpoint.config) // architecture.kv_heads(checkpoint.config)
    out = {}
    for layer in range(checkpoint.layers):
        query, key, value, _ = architecture.linears(layer)[:4]
        groups = masks[f"kv.{layer}"]
        kept = {n: masks[f"ffn.{layer}"] for n in architecture.ffn_inputs(layer)}
        kept |= {
            query: groups.repeat_interleave(size * shared),
            key: groups.repeat_interleave(size),
            value: groups.repeat_interleave(size),
        }
        for name in architecture.linears(layer):
            fisher = scores[f"fisher.{name}"]
            out[name] = fisher[kept[name]] if name in kept else fisher
    return out
