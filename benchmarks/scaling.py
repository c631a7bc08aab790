"""Time and peak memory of each stage's work against tokens, layers, hidden size and neurons.

Random llama models, each in a process of its own. ``exponent`` is the slope of log time over log size from
the smallest case to the largest: 1 is linear.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import NullLocator, ScalarFormatter
from workbench import arguments, save

from birdbone.algo.topology import cluster_layer
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.healing.heal import heal
from birdbone.model.healing.recipe import Lora, Recipe
from birdbone.model.healing.trainable import student_of
from birdbone.model.network import build, canonical, hf_config
from birdbone.model.observing.gradients import node_moments
from birdbone.model.observing.moments import SecondMoments, moments
from birdbone.model.rounding.rounder import Rounder
from birdbone.model.rounding.settings import RoundSettings
from birdbone.model.scores import Scores

BASE = {"tokens": 4096, "layers": 4, "hidden": 256, "neurons": 768}
WINDOW, PROFILE = 256, 256
ROUNDING = RoundSettings(
    types=["IQ4_NL"],
    embedding="Q8_0",
    method="gptq",
    orders=["natural"],
    equalize=True,
    damping=1.0,
)
HEALING = Recipe(steps=4, batch=2, learning_rate=1e-4, checkpoint_every=100)


def main() -> None:
    if "--case" in sys.argv:
        print(json.dumps(_case(json.loads(sys.argv[-1]))))
        return
    asked = arguments(__doc__, factors="1,4")
    rows = []
    for along in BASE:
        for factor in asked.factors.split(","):
            case = {**BASE, along: int(factor) * BASE[along]}
            found = _in_a_process(json.dumps(case))
            rows += [{"along": along, **case, "stage": stage, **figures} for stage, figures in found.items()]
        for stage in found:
            mine = [r for r in rows if r["along"] == along and r["stage"] == stage]
            first, last = mine[0], mine[-1]
            exponent = math.log(last["seconds"] / first["seconds"]) / math.log(last[along] / first[along])
            growth = f"{first['seconds']:7.2f} s -> {last['seconds']:7.2f} s"
            print(
                f"{along:8} {stage:10} {growth}  exponent {exponent:+.2f}  peak {last['peak'] / 1e6:.0f} MB", flush=True
            )
            last["exponent"] = exponent
    save("scaling", asked, rows, _picture(rows))


@cache
def _in_a_process(case: str) -> dict[str, dict[str, float]]:
    """Figures of one case; the smallest is the same along every axis and measured once."""
    command = [sys.executable, str(Path(__file__)), "--case", case]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _case(case: dict) -> dict[str, dict[str, float]]:
    """Stage -> seconds and peak resident bytes, of one random model."""
    config = hf_config(
        {
            "model_type": "llama",
            "hidden_size": case["hidden"],
            "intermediate_size": case["neurons"],
            "num_hidden_layers": case["layers"],
            "num_attention_heads": case["hidden"] // 64,
            "num_key_value_heads": case["hidden"] // 64,
            "vocab_size": 4096,
            "tie_word_embeddings": True,
        }
    )
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    state = AutoModelForCausalLM.from_config(config, trust_remote_code=False).state_dict()
    seed = Checkpoint(config.to_dict(), canonical(state, config.to_dict()))
    windows = torch.randint(0, 4096, (case["tokens"] // WINDOW, WINDOW), dtype=torch.int32)
    scores: list[Scores] = []
    output = f"{seed.layout.blocks[0].ffn_output}.weight"
    blunted = seed.evolve({output: 0.9 * seed.weights[output]})  # the seed itself would have nothing to learn

    def scan() -> None:
        _, fisher, tokens = node_moments(build(seed), seed.layout, windows, "scan")
        scores.append(Scores(fisher=fisher, tokens=tokens))

    def observe() -> None:
        for _ in moments(seed, windows, scores[-1].tokens, "cpu"):
            pass

    stages: dict[str, Callable[[], object]] = {
        "forward": lambda: [build(seed)(ids.long()) for ids in windows.split(4)],
        "scan": scan,
        "moments": observe,
        "topology": lambda: cluster_layer(torch.randn(case["neurons"], PROFILE)),
        "round": lambda: Rounder(seed, windows, SecondMoments(), scores[-1], ROUNDING, "cpu"),
        "heal": lambda: heal(student_of(blunted, Lora(rank=8), 0, "cpu"), seed, windows, windows[:4], HEALING),
    }
    return {name: _measured(work) for name, work in stages.items()}


def _measured(work: Callable[[], object]) -> dict[str, float]:
    Path("/proc/self/clear_refs").write_text("5")  # peak memory counts from here
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": seconds, "peak": 1024 * int(peak.split()[1])}


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panels = plt.subplots(2, len(BASE), figsize=(13, 6), sharey="row", layout="constrained")
    for column, along in enumerate(BASE):
        for row, (what, unit) in enumerate((("seconds", 1), ("peak", 1e6))):
            panel = panels[row][column]
            for stage in dict.fromkeys(r["stage"] for r in rows):
                mine = [r for r in rows if r["along"] == along and r["stage"] == stage]
                panel.plot([r[along] for r in mine], [r[what] / unit for r in mine], marker="o", label=stage)
            panel.set(xscale="log", yscale="log", xlabel=along)
            panel.set_xticks(sorted({r[along] for r in rows if r["along"] == along}))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_major_formatter(ScalarFormatter())
            panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("seconds")
    panels[1][0].set_ylabel("peak memory, MB")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right upper")
    return figure


if __name__ == "__main__":
    main()
