"""Surprise scores of weight blocks and of nodes (∫SPS), and the Taylor score beside them.

Legend: T tokens, C column blocks (64 input features), R row blocks (64 output features), N nodes.
``a`` is what enters (activation), ``g`` the loss gradient at what leaves, both at the *same* token:
then a block's weight gradient of that token is an outer product with Frobenius norm a·g.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Scope = Literal["layer", "model"]
FLAT = 1e-9
"""A population whose standard deviation is below this share of its largest value has z = 0."""


def z(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """Standard score (x − mean) / std over ``dim`` (None: all of x); 0 where x does not vary.

    The standard deviation is the population's (divided by n), so that one value has z = 0.
    """
    dims = tuple(range(x.dim())) if dim is None else dim
    x = x.double()
    mean = x.mean(dims, keepdim=True)
    std = x.std(dims, correction=0, keepdim=True)
    flat = std <= FLAT * x.abs().amax(dims, keepdim=True)
    return torch.where(flat, torch.zeros_like(x), (x - mean) / std.where(~flat, 1.0)).float()


def block_norms(x: Tensor, block: int = 64) -> Tensor:
    """Euclidean norm of each run of ``block`` features.

    [T, features] -> [T, ceil(features / block)]. The last run is shorter where ``block`` does not
    divide. Of a linear layer's input this is A, of its output gradient G: A[t, c]·G[t, r] is
    exactly the Frobenius norm of token t's weight gradient on the block (r, c). Raises ValueError
    when x is not [T, features].
    """
    if x.dim() != 2:
        raise ValueError(f"block norms need [tokens, features], got {tuple(x.shape)}")
    padded = torch.nn.functional.pad(x.float(), (0, -x.shape[1] % block))
    return padded.reshape(x.shape[0], -1, block).norm(dim=-1)


class BlockScores(NamedTuple):
    """z(A) [T, C] and z(G) [T, R] of one linear layer; SPS is their difference, kept factored."""

    a: Tensor
    g: Tensor

    def picture(self) -> Tensor:
        """SPS_t(r, c) = z(A)[t, c] − z(G)[t, r], as [T, R, C]: high is much used, unsurprising."""
        return self.a[:, None, :] - self.g[:, :, None]


def sps(
    a: dict[str, Tensor],
    g: dict[str, Tensor],
    layers: dict[str, int],
    scope: Scope = "layer",
    each: bool = False,
) -> dict[str, BlockScores]:
    """Block scores per linear module from block norms a [T, C] and g [T, R] of the same tokens.

    ``layers`` gives each module's layer. The population of z is every block of every module of
    the layer (scope "layer") or of all layers (scope "model"), over all tokens given, jointly, or
    ``each`` token by itself; A and G are separate populations.
    Raises ValueError when a and g differ in their modules or tokens.
    """
    if a.keys() != g.keys():
        raise ValueError(f"a and g name different modules: {sorted(a.keys() ^ g.keys())}")
    for name in a:
        if len(a[name]) != len(g[name]):
            raise ValueError(f"{name}: {len(a[name])} positions of a, {len(g[name])} of g")
    groups: dict[int, list[str]] = {}
    for name in a:
        groups.setdefault(layers[name] if scope == "layer" else 0, []).append(name)
    scored: dict[str, BlockScores] = {}
    for names in groups.values():
        for name, a_z, g_z in zip(names, _joint_z(a, names, each), _joint_z(g, names, each), strict=True):
            scored[name] = BlockScores(a_z, g_z)
    return {name: scored[name] for name in a}


def integral(values: Tensor, kind: Literal["sum", "mean", "stable"] = "sum", delta: float = 1.0) -> Tensor:
    """Integrate a score over tokens, the first dimension: [T, ...] -> [...].

    sum: Σ_t, the source's ∫SPS. mean: the same, free of length. stable: mean·exp(−delta·variance),
    IPWT's penalty on a score that swings; it shrinks towards 0, whatever the sign.
    """
    if kind == "sum":
        return values.sum(0)
    if kind == "mean":
        return values.mean(0)
    return values.mean(0) * torch.exp(-delta * values.var(0, correction=0))


@dataclass(frozen=True)
class NodeMoments:
    """Sums over tokens per node, float64 [N]; enough for every node score below, in bounded memory.

    A node of width w is w consecutive columns of h (an FFN neuron: 1; a key-value group: all its
    heads' columns): |h| and |g| are then norms, and h·g an inner product.
    """

    tokens: int
    h: Tensor
    g: Tensor
    h_squared: Tensor
    g_squared: Tensor
    cross: Tensor
    """Σ |h|·|g|"""
    taylor: Tensor
    """Σ h·g, signed"""
    taylor_absolute: Tensor
    """Σ |h·g|"""
    taylor_squared: Tensor
    """Σ (h·g)²"""

    @classmethod
    def zero(cls, nodes: int) -> NodeMoments:
        """Nothing seen yet."""
        return cls(0, *(torch.zeros(nodes, dtype=torch.float64) for _ in fields(cls)[1:]))

    def add(self, h: Tensor, g: Tensor) -> NodeMoments:
        """Take in h and ∂L/∂h of the same tokens, both [T, N·w] with one w for all nodes."""
        if h.shape != g.shape or h.shape[1] % len(self.h):
            raise ValueError(f"{len(self.h)} nodes cannot take h {tuple(h.shape)}, g {tuple(g.shape)}")
        split = (len(h), len(self.h), -1)
        h, g = (x.detach().cpu().double().reshape(split) for x in (h, g))
        h_norm = h.norm(dim=-1)
        g_norm = g.norm(dim=-1)
        product = (h * g).sum(-1)
        terms = (
            h_norm,
            g_norm,
            h_norm**2,
            g_norm**2,
            h_norm * g_norm,
            product,
            product.abs(),
            product**2,
        )
        sums = (getattr(self, field.name) + x.sum(0) for field, x in zip(fields(self)[1:], terms, strict=True))
        return NodeMoments(self.tokens + len(h), *sums)


def node_sps(
    moments: list[NodeMoments],
    scope: Scope = "layer",
    kind: Literal["sum", "mean", "stable"] = "sum",
    delta: float = 1.0,
) -> list[Tensor]:
    """∫SPS per node, one float32 [N] per layer: Σ_t z(|h_j|) − z(|∂L/∂h_j|), see ``integral``.

    The population of z is all nodes of the layer (or of all layers given), over all tokens seen.
    z is affine, so the accumulated sums give the same number as the whole series would.
    """
    groups = [[m] for m in moments] if scope == "layer" else [moments] * len(moments)
    scores = []
    for layer, group in zip(moments, groups, strict=True):
        h_mean, h_inverse = _population(group, "h")
        g_mean, g_inverse = _population(group, "g")
        h = layer.h / layer.tokens
        g = layer.g / layer.tokens
        mean = (h - h_mean) * h_inverse - (g - g_mean) * g_inverse
        if kind == "stable":
            variance = (
                (layer.h_squared / layer.tokens - h**2) * h_inverse**2
                + (layer.g_squared / layer.tokens - g**2) * g_inverse**2
                - 2 * (layer.cross / layer.tokens - h * g) * h_inverse * g_inverse
            )
            mean = mean * torch.exp(-delta * variance.clamp(min=0))
        scores.append((mean * layer.tokens if kind == "sum" else mean).float())
    return scores


def taylor_scores(moments: NodeMoments, kind: Literal["absolute", "signed", "squared"] = "absolute") -> Tensor:
    """First-order loss change on removing each node, per token, float32 [N].

    absolute: mean |h·∂L/∂h|. signed: |mean h·∂L/∂h| (Molchanov et al., arXiv 1611.06440).
    squared: the root of the mean square (Molchanov et al., arXiv 1906.10771).
    """
    if kind == "absolute":
        return (moments.taylor_absolute / moments.tokens).float()
    if kind == "signed":
        return (moments.taylor / moments.tokens).abs().float()
    return (moments.taylor_squared / moments.tokens).sqrt().float()


def _joint_z(norms: dict[str, Tensor], names: list[str], each: bool) -> list[Tensor]:
    sizes = [norms[name].shape[1] for name in names]
    return list(z(torch.cat([norms[name] for name in names], dim=1), 1 if each else None).split(sizes, dim=1))


def _population(moments: list[NodeMoments], which: Literal["h", "g"]) -> tuple[Tensor, Tensor]:
    """Mean and *inverse* standard deviation (0 where nothing varies) over nodes and tokens."""
    count = sum(m.tokens * len(m.h) for m in moments)
    mean = sum(getattr(m, which).sum() for m in moments) / count
    square = sum(getattr(m, f"{which}_squared").sum() for m in moments) / count
    std = (square - mean**2).clamp(min=0).sqrt()
    flat = std <= FLAT * square.sqrt()
    return mean, torch.where(flat, torch.zeros_like(std), 1 / std.where(~flat, 1.0))
