"""Weight masks without healing: every method at every sparsity, with uniform budgets and by sensitivity.

The same calibration text and moments for all; figures are of the guard's domains, the worst one named.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
from workbench import Artifacts, arguments, fewer, one_cluster, save, stored_moments

from birdbone.algo.perplexity import worst_change
from birdbone.model.device import resolve_device
from birdbone.model.judging.judge import judge
from birdbone.model.network import build
from birdbone.model.pruning.prune import prune
from birdbone.model.pruning.settings import MaskSettings, PruneSettings

CASES = (("50 %", 0.5, None), ("70 %", 0.7, None), ("2:4", 0.5, (2, 4)))


def main() -> None:
    asked = arguments(__doc__, methods="magnitude,wanda,sparsegpt,admm", windows=2, tokens=4096)
    found = Artifacts(asked.env)
    seed, texts, scores = found.seed_model, found.texts, found.node_scores
    device, guard = resolve_device(found.parameters["device"]), fewer(texts.guard, asked.windows)
    reference = found.reference(asked.windows)
    calibration = texts.calibration[: -(-asked.tokens // texts.calibration.shape[1])]
    clusters = one_cluster(seed)
    temporary = tempfile.TemporaryDirectory(prefix="birdbone-")
    moments = stored_moments(Path(temporary.name), seed, calibration, scores.tokens, device)
    rows = []
    for method in asked.methods.split(","):
        for case, sparsity, pattern in CASES:
            blind = pattern or method == "magnitude"  # to what its inputs are: a sensitivity says nothing to it
            for budget in ("uniform",) if blind else ("uniform", "sensitivity"):
                masks = MaskSettings(method=method, sparsity=sparsity, pattern=pattern, budget=budget)
                settings = found.settings(PruneSettings, "prune_wave", attention=False, weights=masks)
                start = time.perf_counter()
                state, _ = prune(seed, 0, scores, clusters, calibration, moments, settings, "uneven", device)
                seconds = time.perf_counter() - start
                figures = judge(build(state, device), reference, guard, 0)
                domain, change = worst_change(figures, None)
                rows.append(
                    {
                        "method": method,
                        "case": case,
                        "budget": budget,
                        "seconds": seconds,
                        "worst_domain": domain,
                        "worst_change": change,
                        "kl": sum(f["kl"] for f in figures.values()) / len(figures),
                        "perplexity": {d: f["perplexity"] for d, f in figures.items()},
                    }
                )
                print(
                    "{method:10} {case:5} {budget:12} worst {worst_change:+9.1%}  KL {kl:.3f}  {seconds:.0f} s".format(
                        **rows[-1]
                    ),
                    flush=True,
                )
    save("one-shot", asked, rows, _picture(rows))


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panel = plt.subplots(figsize=(8, 4.5))
    labels = [f"{r['case']}\n{r['method']}\n{r['budget']}" for r in rows]
    colours = {m: f"C{i}" for i, m in enumerate(dict.fromkeys(r["method"] for r in rows))}
    panel.bar(range(len(rows)), [r["kl"] for r in rows], color=[colours[r["method"]] for r in rows])
    panel.set_xticks(range(len(rows)), labels, fontsize=6)
    panel.set(ylabel="KL to the seed, nats per token", yscale="log")
    panel.grid(alpha=0.3, axis="y")
    return figure


if __name__ == "__main__":
    main()
