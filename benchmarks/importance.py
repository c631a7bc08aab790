"""Which score finds the neurons that matter least: perplexity after removing a share of them by each.

Every score removes the same number of neurons, model-wide, from the untouched seed, with plain
deletion and with the least-squares repair; nothing is healed. Figures are of the guard's domains.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from workbench import Artifacts, arguments, fewer, save

from birdbone.algo.perplexity import worst_change
from birdbone.algo.scores import SCORES
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.judge import judge
from birdbone.model.network import build
from birdbone.model.prune import choose, prune
from birdbone.model.reference import Reference
from birdbone.model.shrink import ffn_width, neuron_cost, remove_nodes

NO_CAP = 0.99


def main() -> None:
    asked = arguments(__doc__, shares="0.05,0.1,0.2,0.3", windows=4, random_seeds=3)
    found = Artifacts(asked.env)
    seed, (texts, _), (scores, _) = found.seed_model, found.texts, found.node_scores
    device = resolve_device(found.parameters["device"])
    settings = {**found.parameters["prune_wave"], "cluster_cap": NO_CAP, "attention": False}
    one_cluster = {f"ffn.{i}": torch.zeros(ffn_width(seed, i), dtype=torch.int64) for i in range(seed.layers)}
    guard = fewer(texts, "guard", asked.windows)
    reference = Reference(seed, {n: s[: asked.windows] for n, s in found.seed_states[0].items()})
    neurons = sum(ffn_width(seed, i) for i in range(seed.layers))

    def measure(state: Checkpoint, **row: object) -> dict:
        figures = judge(build(state, device), reference, guard, "guard", 0)
        domain, change = worst_change(figures, None)
        row |= {"worst_domain": domain, "worst_change": change}
        row["kl"] = sum(f["kl"] for f in figures.values()) / len(figures)
        row["change"] = {d: f["change"] for d, f in figures.items()}
        print("{score:10} {share:4.0%} {how:9} worst {worst_change:+8.1%}  KL {kl:.4f}".format(**row), flush=True)
        return row

    rows = []
    for share in map(float, asked.shares.split(",")):
        weights = int(share * neurons) * neuron_cost(seed)
        for score in SCORES:
            for draw in range(asked.random_seeds if score == "random" else 1):
                used = scores if draw == 0 else {**scores, **_random(seed, draw)}
                chosen = {**settings, "score": score}
                masks, _ = choose(seed, weights, used, one_cluster, chosen, even=False)
                rows.append(measure(remove_nodes(seed, masks, {}), score=score, share=share, how="deleted", draw=draw))
                state, _ = prune(seed, weights, used, one_cluster, texts["calibration"], chosen, "uneven", device)
                rows.append(measure(state, score=score, share=share, how="repaired", draw=draw))
    save("importance", asked, rows, _picture(rows))


def _random(seed: Checkpoint, draw: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(draw)
    return {f"ffn.{i}.random": torch.rand(ffn_width(seed, i), generator=generator) for i in range(seed.layers)}


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    for panel, how in zip(panels, ("deleted", "repaired"), strict=True):
        for score in SCORES:
            mine = [r for r in rows if r["score"] == score and r["how"] == how]
            shares = sorted({r["share"] for r in mine})
            means = [_mean([r["kl"] for r in mine if r["share"] == s]) for s in shares]
            panel.plot([100 * s for s in shares], means, marker="o", label=score)
        panel.set(title=how, xlabel="neurons removed, %", yscale="log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("KL to the seed, nats per token")
    panels[1].legend()
    return figure


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
