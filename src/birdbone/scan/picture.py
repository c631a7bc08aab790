"""Pictures from a scan: SPS of every weight block at one token, over many, or their difference.

A picture is stored factored: z(A) per column block and z(G) per row block of each module. A block's
SPS is their difference. z's population is all blocks of the layer (scope "layer") or of the model
("model"), for each token alone and for A and G apart. The first token's massive activations then do
not set every scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from birdbone.algo.sps import BlockScores, Scope, integral, sps
from birdbone.datasets.mscan import Module, Scan
from birdbone.errors import ArtifactError, ConfigError

BATCH = 256
"""Tokens held in memory at once."""
POPULATION = {
    "layer": "z over all blocks of the layer, at each token; A and G apart",
    "model": "z over all blocks of the model, at each token; A and G apart",
}
NAMES = {"layer": "layer norm", "model": "global norm"}


@dataclass(frozen=True)
class Picture:
    """SPS of every block. scores: a module's name -> z(A) [C] and z(G) [R].

    what: of which tokens, in words. minus: in a difference, what was subtracted.
    """

    model: str
    digest: str
    modules: tuple[Module, ...]
    block: int
    scope: Scope
    what: str
    tokens: tuple[str, ...]
    scores: dict[str, BlockScores]
    minus: str | None = None

    def blocks(self, name: str) -> Tensor:
        """SPS of one module's blocks, [R, C] (out/64, in/64)."""
        return self.scores[name].a[None, :] - self.scores[name].g[:, None]

    def module_means(self) -> dict[str, float]:
        """Mean SPS over each module's blocks."""
        return {name: float(s.a.mean() - s.g.mean()) for name, s in self.scores.items()}


def token_picture(scan: Scan, token: int, scope: Scope = "layer") -> Picture:
    """One token's own picture. Raises ConfigError when the scan has no such token."""
    if not 0 <= token < len(scan):
        raise ConfigError(f"{scan.path} has tokens 0 to {len(scan) - 1}, no token {token}")
    text = scan.tokens[token]
    scores = {
        n: BlockScores(s.a[0], s.g[0]) for n, s in _scored(scan, token, token + 1, scope).items()
    }
    return _picture(
        scan, scope, f"token {token}, {text!r}" if text else f"token {token}", (text,), scores
    )


def mean_picture(scan: Scan, scope: Scope = "layer", source: str | None = None) -> Picture:
    """∫SPS as the mean over tokens of the scan, or of its text set ``source``, in bounded memory.

    Raises ArtifactError when the scan is empty, ConfigError when it has no such text set.
    """
    spans = list(_spans(scan, source))
    if not spans:
        if source is None:
            raise ArtifactError(f"{scan.path} holds no token: scan again")
        text_sets = ", ".join(sorted(set(scan.sources))) or "none"
        raise ConfigError(f"{scan.path} has no text set {source!r}: it has {text_sets}")
    sums: dict[str, list[Tensor]] = {}
    for start, stop in spans:
        for name, chunk in _scored(scan, start, stop, scope).items():
            chunk_sums = [integral(side.double(), "sum") for side in chunk]
            if name in sums:
                chunk_sums = [s + x for s, x in zip(sums[name], chunk_sums, strict=True)]
            sums[name] = chunk_sums
    count = sum(stop - start for start, stop in spans)
    scores = {
        name: BlockScores(*((s / count).float() for s in pair)) for name, pair in sums.items()
    }
    what = f"mean over {count} token{'s' * (count > 1)}" + (f" of {source}" if source else "")
    tokens = [t for start, stop in spans[:1] for t in scan.tokens[start : min(stop, start + BATCH)]]
    return _picture(scan, scope, what, tuple(tokens) if len(spans) == 1 else (), scores)


def difference(one: Picture, other: Picture) -> Picture:
    """One picture minus another, block by block: of two text sets, or of two models on one text.

    Raises ArtifactError when their modules differ, ConfigError when their norms do.
    """
    if one.modules != other.modules or one.block != other.block:
        differ = next(
            (m.name for m, o in zip(one.modules, other.modules, strict=False) if m != o),
            "their number",
        )
        raise ArtifactError(
            f"scans of {one.model} and {other.model} have other modules or widths ({differ}), so "
            "their blocks do not correspond. `birdbone scan` gives pruned models at the seed's "
            "width: scan both with it"
        )
    if one.scope != other.scope:
        raise ConfigError("a difference needs two pictures of the same norm")
    scores = {
        name: BlockScores(s.a - other.scores[name].a, s.g - other.scores[name].g)
        for name, s in one.scores.items()
    }
    same = one.model == other.model and one.digest == other.digest
    minus = other.what if same else f"{other.model}, {other.what}"
    return replace(one, scores=scores, minus=minus)


def limit(pictures: Iterable[Picture], share: float = 0.98) -> float:
    """A round bound of the colours: ``share`` of all blocks lie within ± it."""
    values = torch.cat([p.blocks(n).abs().flatten() for p in pictures for n in p.scores])
    bound = float(values.sort().values[min(len(values) - 1, int(share * len(values)))])
    step = next((s for s in (0.01, 0.05, 0.1, 0.5, 1.0) if bound <= 10 * s), 5.0)
    return max(step, step * -(-bound // step))


def _scored(scan: Scan, start: int, stop: int, scope: Scope) -> dict[str, BlockScores]:
    layers = {module.name: module.layer for module in scan.modules}
    norms = {
        n: x
        for layer in sorted(set(layers.values()))
        for n, x in scan.layer(layer, start, stop).items()
    }
    return sps(
        {n: x.a for n, x in norms.items()},
        {n: x.g for n, x in norms.items()},
        layers,
        scope,
        each=True,
    )


def _spans(scan: Scan, source: str | None) -> Iterable[tuple[int, int]]:
    at = 0
    for text_set, tokens in scan.chunks:
        if source in (None, text_set):
            for start in range(at, at + len(tokens), BATCH):
                yield start, min(start + BATCH, at + len(tokens))
        at += len(tokens)


def _picture(
    scan: Scan, scope: Scope, what: str, tokens: tuple[str, ...], scores: dict[str, BlockScores]
) -> Picture:
    return Picture(
        scan.model, scan.model_digest, tuple(scan.modules), scan.block, scope, what, tokens, scores
    )
