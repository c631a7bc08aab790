"""What a score says each layer's cheapest neurons cost, beside what they cost: KL to the seed, nats per token.

As many neurons of every layer, the least valuable by each score, are deleted from the untouched seed, one layer at a
time; nothing is repaired or healed. ``predicted`` is half the sum of their scores (of ``fisher_max``, where the
neurons are drawn by chance); the rank correlation says how well it orders the layers. Measured on the seed's own text
(other than what was scored on), on check text and on guard text. The control is ``random``.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr
from workbench import Artifacts, arguments, fewer, save

from birdbone.model.device import resolve_device
from birdbone.model.network import build
from birdbone.model.observing.ablation import ablated_divergences


def main() -> None:
    asked = arguments(__doc__, neurons=32, windows=2, scores="fisher,fisher_max,random")
    found = Artifacts(asked.env)
    seed, texts, scores = found.seed_model, found.texts, found.node_scores
    device = resolve_device(found.parameters["device"])
    guard = fewer(texts.guard, asked.windows)
    read = {"own": texts.heal[: asked.windows], "check": texts.check[: asked.windows]}
    read |= {name: domain.windows for name, domain in guard.items()}
    windows = torch.cat(list(read.values()))
    network = build(seed, device)
    names = asked.scores.split(",")
    rows = []
    sets = [
        {layer: scores.of("ffn", layer, score).argsort()[: asked.neurons]}
        for score in names
        for layer in range(seed.layers)
    ]
    kl = ablated_divergences(network, seed.layout, windows, sets, "layers") / (windows.shape[1] - 1)
    parts = dict(zip(read, kl.split([len(w) for w in read.values()], dim=1), strict=True))
    for i, nodes in enumerate(sets):
        (layer, chosen), score = next(iter(nodes.items())), names[i // seed.layers]
        known = score if score.startswith("fisher") else "fisher_max"
        predicted = 0.5 * float(scores.of("ffn", layer, known)[chosen].sum())
        row = {"score": score, "layer": layer, "predicted": predicted}
        rows.append(row | {name: float(part[i].mean()) for name, part in parts.items()})
    for score in names:
        _print(score, [r for r in rows if r["score"] == score], list(read))
    save("layer_costs", asked, rows, _picture(rows, list(read)))


def _print(score: str, rows: list[dict], texts: list[str]) -> None:
    print(f"\n{score}: nats x 1,000 per token\nlayer  predicted  " + "  ".join(f"{t:>9}" for t in texts))
    for row in rows:
        print(f"{row['layer']:5}  {1000 * row['predicted']:9.3f}  " + "  ".join(f"{1000 * row[t]:9.3f}" for t in texts))
    ranks = (spearmanr([r["predicted"] for r in rows], [r[t] for r in rows]).statistic for t in texts)
    print(" rank correlation " + "  ".join(f"{r:9.2f}" for r in ranks), flush=True)


def _picture(rows: list[dict], texts: list[str]) -> plt.Figure:
    scores = list(dict.fromkeys(r["score"] for r in rows))
    figure, panels = plt.subplots(1, len(scores), figsize=(5 * len(scores), 4), sharey=True, squeeze=False)
    for panel, score in zip(panels[0], scores, strict=True):
        mine = [r for r in rows if r["score"] == score]
        for name in ["predicted", *texts] if score != "random" else texts:
            style = "k--" if name == "predicted" else "o-"
            panel.plot([r["layer"] for r in mine], [r[name] for r in mine], style, label=name, markersize=3)
        panel.set(title=score, xlabel="layer", yscale="log")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("KL to the seed, nats per token")
    panels[0][0].legend()
    return figure


if __name__ == "__main__":
    main()
