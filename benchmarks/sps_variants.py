"""Every reading of ∫SPS as a score for deletion, beside Taylor and Fisher: which part of it helps, and which hurts.

Neurons are deleted from the untouched seed, nothing is repaired or healed. Figures of the guard's text and, to
confirm, of the test text.
"""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
from torch import Tensor
from workbench import NO_CAP, Artifacts, arguments, fewer, one_cluster, save

from birdbone.algo.perplexity import worst_change
from birdbone.algo.sps import NodeMoments, node_sps, z
from birdbone.model.device import resolve_device
from birdbone.model.judging.judge import judge
from birdbone.model.network import build
from birdbone.model.observing.gradients import node_moments
from birdbone.model.pruning.prune import choose
from birdbone.model.pruning.removal import remove_nodes
from birdbone.model.pruning.settings import PruneSettings
from birdbone.model.scores import Scores
from birdbone.model.units import Nodes


def variants(seen: list[NodeMoments], scores: Scores) -> dict[str, list[Tensor]]:
    """Name -> one score per node and layer; the lowest go first."""
    turned = [replace(m, g=-m.g, cross=-m.cross) for m in seen]
    taylor, fisher = ([scores.of("ffn", i, name) for i in range(len(seen))] for name in ("taylor", "fisher"))
    stable = node_sps(seen, "layer", "stable")
    return {
        "∫SPS: z(use) − z(surprise), z in a layer": node_sps(seen),
        "∫SPS, z over the model": node_sps(seen, "model"),
        "∫SPS, stability-weighted": stable,
        "∫SPS, stability-weighted, z over the model": node_sps(seen, "model", "stable"),
        "sign turned: z(use) + z(surprise), z in a layer": node_sps(turned),
        "sign turned, z over the model": node_sps(turned, "model"),
        "use alone, mean |h|": [(m.h / m.tokens).float() for m in seen],
        "surprise alone, mean |∂L/∂h|": [(m.g / m.tokens).float() for m in seen],
        "use × surprise": [(m.h * m.g / m.tokens**2).float() for m in seen],
        "stable ∫SPS + z(log Taylor)": [z(s) + z(t.log()) for s, t in zip(stable, taylor, strict=True)],
        "taylor": taylor,
        "fisher": fisher,
    }


def main() -> None:
    asked = arguments(__doc__, shares="0.1", windows=2)
    found = Artifacts(asked.env)
    seed, texts, scores = found.seed_model, found.texts, found.node_scores
    device = resolve_device(found.parameters["device"])
    nodes, _, _ = node_moments(build(seed, device), seed.layout, texts.calibration, "scan")
    layers = range(seed.layers)
    plain = {"clusters": "layer", "cluster_cap": NO_CAP, "attention": False, "score": "own"}
    settings = found.settings(PruneSettings, "prune_wave", **plain)
    splits = {
        split: (found.reference(asked.windows, split), fewer(getattr(texts, split), asked.windows))
        for split in ("guard", "test")
    }
    rows = []
    for name, values in variants([nodes["ffn", i] for i in layers], scores).items():
        for share in map(float, asked.shares.split(",")):
            weights = int(share * sum(seed.counts("ffn"))) * seed.cost("ffn")
            used = Scores({(Nodes("ffn", i), "own"): value for i, value in enumerate(values)})
            stays = choose(seed, weights, used, one_cluster(seed), settings, even=False)
            network = build(remove_nodes(seed, stays), device)
            row = {"score": name, "share": share}
            for split, (reference, domains) in splits.items():
                figures = judge(network, reference, domains, 0, split)
                row[split] = sum(f["kl"] for f in figures.values()) / len(figures)
                row[f"{split}_worst"] = worst_change(figures, None)[1]
            rows.append(row)
            print(
                "{score:48} {share:4.0%}  guard KL {guard:.4f} worst {guard_worst:+8.1%}  "
                "test KL {test:.4f} worst {test_worst:+8.1%}".format(**row),
                flush=True,
            )
    save("sps-variants", asked, rows, _picture(rows))


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panel = plt.subplots(figsize=(8, 4.5))
    names = list(dict.fromkeys(r["score"] for r in rows))
    for share in dict.fromkeys(r["share"] for r in rows):
        mine = [next(r["test"] for r in rows if (r["score"], r["share"]) == (n, share)) for n in names]
        panel.plot(mine, range(len(names)), "o", label=f"{share:.0%} of the neurons deleted")
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set(xlabel="KL to the seed on test text, nats per token", xscale="log")
    panel.grid(alpha=0.3)
    panel.legend(fontsize=7)
    panel.invert_yaxis()
    return figure


if __name__ == "__main__":
    main()
