"""Which score finds the neurons that matter least: perplexity after removing a share of them by each.

Every score removes the same number of neurons from the untouched seed, model-wide (in families that stock
llama.cpp has no uneven form of: as many in every layer), with plain
deletion and with the least-squares repair; nothing is healed. Figures are of the guard's domains.

The score in use is also tried with its clusters in view, those of a layer or (``model``) across layers: no
cluster loses more than twice the share. Without (``clusters: none``) a cluster may go whole.
"""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from workbench import NO_CAP, Artifacts, arguments, fewer, one_cluster, save

from birdbone.algo.perplexity import worst_change
from birdbone.algo.scores import SCORES
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.judging.judge import judge
from birdbone.model.network import build
from birdbone.model.observing.activations import Clusters
from birdbone.model.pruning.prune import choose, prune, stays_even
from birdbone.model.pruning.removal import remove_nodes
from birdbone.model.pruning.settings import PruneSettings
from birdbone.model.scores import Scores
from birdbone.model.units import Nodes
from birdbone.pipelines.topology.nodes import cluster
from birdbone.pipelines.topology.settings import TopologySettings

CAP = 2.0
"""Of the share removed: what a cluster may lose where clusters count."""


def main() -> None:
    asked = arguments(__doc__, shares="0.05,0.1,0.2,0.3", windows=2, random_seeds=2, clusters="layer")
    found = Artifacts(asked.env)
    seed, texts, scores = found.seed_model, found.texts, found.node_scores
    device = resolve_device(found.parameters["device"])
    plain = {"clusters": "layer", "cluster_cap": NO_CAP, "attention": False}
    settings = found.settings(PruneSettings, "prune_wave", **plain)
    unrepeated = found.settings(TopologySettings, "topology", stability_resamples=0)
    random_seed = found.parameters["random_seed"]
    by_profile, *_ = cluster(found.activations, unrepeated, "model", random_seed)
    second_moments = found.second_moments
    guard = fewer(texts.guard, asked.windows)
    reference = found.reference(asked.windows)
    even = stays_even("uneven", seed.config)
    neurons = sum(seed.counts("ffn"))

    def measure(state: Checkpoint, **row: object) -> dict:
        figures = judge(build(state, device), reference, guard, 0)
        domain, change = worst_change(figures, None)
        row |= {"worst_domain": domain, "worst_change": change}
        row["gone"] = 1 - sum(state.counts("ffn")) / neurons
        row["kl"] = sum(f["kl"] for f in figures.values()) / len(figures)
        row["change"] = {d: f["change"] for d, f in figures.items()}
        print(
            "{score:10} {gone:6.1%} {how:9} clusters {clusters:5} worst {worst_change:+8.1%}  KL {kl:.4f}".format(
                **row
            ),
            flush=True,
        )
        return row

    def removed(weights: int, used: Scores, groups: Clusters, chosen: PruneSettings) -> dict[str, Checkpoint]:
        stays = choose(seed, weights, used, groups, chosen, even)
        repaired, _ = prune(seed, weights, used, groups, texts.calibration, second_moments, chosen, "uneven", device)
        return {"deleted": remove_nodes(seed, stays), "repaired": repaired}

    rows = []
    for share in map(float, asked.shares.split(",")):
        weights = int(share * neurons) * seed.cost("ffn")
        for score in SCORES:
            for draw in range(asked.random_seeds if score == "random" else 1):
                used = scores if draw == 0 else _redrawn(scores, seed, draw)
                chosen = settings.model_copy(update={"score": score})
                for how, state in removed(weights, used, one_cluster(seed), chosen).items():
                    rows.append(measure(state, score=score, share=share, how=how, clusters="none", draw=draw))
        for scope in asked.clusters.split(","):
            capped = settings.model_copy(update={"clusters": scope, "cluster_cap": min(NO_CAP, CAP * share)})
            for how, state in removed(weights, scores, by_profile, capped).items():
                rows.append(measure(state, score=settings.score, share=share, how=how, clusters=scope, draw=0))
    save("importance", asked, rows, _picture(rows))


def _redrawn(scores: Scores, seed: Checkpoint, draw: int) -> Scores:
    """The scores with ``random`` drawn again."""
    generator = torch.Generator().manual_seed(draw)
    drawn = {
        (Nodes("ffn", layer), "random"): torch.rand(width, generator=generator)
        for layer, width in enumerate(seed.counts("ffn"))
    }
    return replace(scores, nodes={**scores.nodes, **drawn})


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    for panel, how in zip(panels, ("deleted", "repaired"), strict=True):
        for score in SCORES:
            for clusters, style in (("none", "o-"), ("layer", "s--"), ("model", "^:")):
                mine = [r for r in rows if (r["score"], r["how"], r["clusters"]) == (score, how, clusters)]
                shares = sorted({r["share"] for r in mine})
                means = [_mean([r["kl"] for r in mine if r["share"] == s]) for s in shares]
                if mine:
                    name = score if clusters == "none" else f"{score}, capped by {clusters} clusters"
                    panel.plot([100 * s for s in shares], means, style, label=name)
        panel.set(title=how, xlabel="neurons removed, %", yscale="log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("KL to the seed, nats per token")
    panels[1].legend()
    return figure


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
