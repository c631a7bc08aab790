"""Healing recipes on the same pruned model: perplexity and KL against steps, tokens and seconds.

Each recipe also heals the seed itself, uncompressed: the control, without which a recovery proves nothing.
"""

from __future__ import annotations

import time

import matplotlib.pyplot as plt
from workbench import NO_CAP, Artifacts, arguments, fewer, save

from birdbone.algo.perplexity import worst_change
from birdbone.model.device import resolve_device
from birdbone.model.healing.heal import heal
from birdbone.model.healing.trainable import student_of
from birdbone.model.judging.judge import judge
from birdbone.model.network import build
from birdbone.model.pruning.prune import prune
from birdbone.model.pruning.reconstruct import reconstruct
from birdbone.model.pruning.settings import MaskSettings, PruneSettings
from birdbone.pipelines.waves.settings.heal import HealSettings

ALONE = 1e3
"""Weight at which cross-entropy drowns the distillation: AdamW does not mind a gradient's scale."""
RECIPES = {
    "LoRA on cross-entropy": {"ce_weight": ALONE},
    "LoRA distilled and on cross-entropy": {"ce_weight": 0.5},
    "LoRA distilled": {},
    "QLoRA distilled": {"base": "nf4"},
    "all weights distilled": {"method": "full", "learning_rate": 5e-5},
    "all weights distilled at four times the rate": {"method": "full", "learning_rate": 2e-4},
    "hidden states of the blocks too": {"method": "full", "learning_rate": 2e-4, "state_weight": 1.0},
    "block by block": {"method": "full", "learning_rate": 1e-4},
}
LONG = {"LoRA distilled and on cross-entropy", "hidden states of the blocks too"}
"""Near a neighbour in all that was measured: for ``--recipes all``."""
QUICK = ",".join(r for r in RECIPES if r not in LONG)
MASK = {"none": None, "2:4": (2, 4)}


def main() -> None:
    asked = arguments(__doc__, share=0.1, mask="none", steps="3,10", windows=2, recipes=QUICK, rate=0.0005)
    found = Artifacts(asked.env)
    seed, texts, scores = found.seed_model, found.texts, found.node_scores
    device, guard = resolve_device(found.parameters["device"]), fewer(texts.guard, asked.windows)
    reference = found.reference(asked.windows)
    masks = found.parameters["prune_wave"]["weights"]
    if asked.mask != "none":
        masks = {**masks, "method": "sparsegpt", "pattern": MASK[asked.mask]}
    settings = found.settings(
        PruneSettings, "prune_wave", attention=False, cluster_cap=NO_CAP, weights=MaskSettings(**masks)
    )
    amount = int(asked.share * seed.block_parameters)
    pruned, _ = prune(
        seed,
        amount,
        scores,
        found.clusters,
        texts.calibration,
        found.second_moments,
        settings,
        "uneven",
        device,
    )
    print(f"{1 - pruned.block_parameters / seed.block_parameters:.1%} of the block weights gone", flush=True)
    plain = {"method": "lora", "ce_weight": 0.0, "state_weight": 0.0, "learning_rate": asked.rate, "base": "float32"}
    base = {**found.parameters["micro_heal"], **plain}
    rows: list[dict] = []

    def measure(recipe: str, steps: int, seconds: float, state, role: str) -> None:
        figures = judge(build(state, device), reference, guard, 0)
        domain, change = worst_change(figures, None)
        kl = sum(f["kl"] for f in figures.values()) / len(figures)
        tokens = steps * base["batch"] * texts.heal.shape[1]
        rows.append(
            {
                "recipe": recipe,
                "role": role,
                "steps": steps,
                "tokens": tokens,
                "seconds": seconds,
                "worst_domain": domain,
                "worst_change": change,
                "kl": kl,
                "perplexity": {d: f["perplexity"] for d, f in figures.items()},
            }
        )
        print(
            f"{recipe:40} {role:8} {steps:4} steps  {seconds:6.1f} s  worst {change:+7.2%}  KL {kl:.4f}",
            flush=True,
        )

    measure("nothing", 0, 0.0, pruned, "healed")
    steps = [int(s) for s in asked.steps.split(",")]
    for recipe in RECIPES if asked.recipes == "all" else asked.recipes.split(","):
        chosen = base | RECIPES[recipe]
        for count in steps:
            start = time.perf_counter()
            healed = _healed(recipe, pruned, seed, texts, HealSettings(**chosen | {"steps": count}), device)
            measure(recipe, count, time.perf_counter() - start, healed, "healed")
        start = time.perf_counter()
        control = _healed(recipe, seed, seed, texts, HealSettings(**chosen | {"steps": steps[-1]}), device)
        measure(recipe, steps[-1], time.perf_counter() - start, control, "control")
    save("heal" if asked.mask == "none" else f"heal-{asked.mask.replace(':', '-')}", asked, rows, _picture(rows))


def _healed(name: str, state, seed, texts, settings: HealSettings, device: str):
    student = student_of(state, settings.lora, 0, device)
    if name == "block by block":
        used = texts.heal[: settings.steps * settings.batch]
        return reconstruct(student, seed, used, settings.recipe)[0]
    return heal(student, seed, texts.heal, texts.check, settings.recipe).checkpoint


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panel = plt.subplots(figsize=(8, 4.5))
    start = rows[0]
    for recipe in dict.fromkeys(r["recipe"] for r in rows[1:]):
        mine = [start, *(r for r in rows if r["recipe"] == recipe and r["role"] == "healed")]
        panel.plot([r["seconds"] for r in mine], [r["kl"] for r in mine], "o-", label=recipe)
    panel.set(xlabel="seconds of healing", ylabel="KL to the seed, nats per token")
    panel.legend(fontsize=7)
    panel.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    main()
