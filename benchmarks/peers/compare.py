"""Our weight masks beside llm-compressor's: same model, calibration windows and evaluation, in turn, in one run.

Our ADMM stands beside its SparseGPT too. Each in a process of its own, whose seconds of masking and peak
anonymous memory count (a memory-mapped file's pages can be taken back at any time); every ratio is ours to the peer's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from workbench import Artifacts, arguments, fewer, save

from birdbone.algo.perplexity import worst_change
from birdbone.model.device import resolve_device
from birdbone.model.folder import write_folder
from birdbone.model.judging.judge import judge
from birdbone.model.network import build, canonical

HERE = Path(__file__).parent
RIVALS = {"sparsegpt": ("sparsegpt", "admm"), "wanda": ("wanda",)}
"""Our methods that stand beside one of theirs."""


def main() -> None:
    asked = arguments(__doc__, python="", methods="sparsegpt,wanda", structures="0:0,2:4", windows=8, repeats=1)
    if not Path(asked.python).is_file():
        raise SystemExit("--python: the peer's interpreter; `make bench-peers` sets it up and gives it")
    found = Artifacts(asked.env)
    seed, texts = found.seed_model, found.texts
    device, guard = resolve_device(found.parameters["device"]), fewer(texts.guard, asked.windows)
    reference = found.reference(asked.windows)
    tools = {
        "birdbone": [sys.executable, HERE / "ours.py"],
        "llm-compressor": [asked.python, HERE / "llm_compressor.py"],
    }
    rows = []
    with tempfile.TemporaryDirectory(prefix="birdbone-") as temporary:
        folder = Path(temporary) / "seed"
        folder.mkdir()
        write_folder(seed, folder, torch.float32)
        for file in found.tokenizer.iterdir():
            if file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        save_file({"windows": texts.calibration}, Path(temporary) / "windows.safetensors")
        for method, structure in product(asked.methods.split(","), asked.structures.split(",")):
            tries = [("llm-compressor", method), *(("birdbone", rival) for rival in RIVALS[method])] * asked.repeats
            for turn, (tool, used) in enumerate(tries):
                out = Path(temporary) / f"{method}-{structure.replace(':', '-')}-{turn}"
                figures = _run([*tools[tool], folder, Path(temporary) / "windows.safetensors", out, used, structure])
                weights = canonical(load_file(out / "model.safetensors"), seed.config)
                shutil.rmtree(out)
                state = seed.evolve({n: weights[n] for n in seed.weights})
                judged = judge(build(state, device), reference, guard, 0)
                domain, change = worst_change(judged, None)
                row = {"tool": tool, "method": used, "structure": structure, **figures}
                row |= {"worst_domain": domain, "worst_change": change, "zeros": _zeros(state)}
                row["kl"] = sum(f["kl"] for f in judged.values()) / len(judged)
                row["perplexity"] = {d: f["perplexity"] for d, f in judged.items()}
                rows.append(row)
                print(
                    f"{tool:15} {used:10} {structure}  worst {change:+8.1%}  KL {row['kl']:.3f}  "
                    f"zeros {row['zeros']:.1%}  {row['seconds']:6.1f} s  {row['peak'] / 1e9:.2f} GB",
                    flush=True,
                )
                if tool == "llm-compressor":
                    theirs = row
                else:
                    _ratio(row, theirs)
    save("peers", asked, rows, _picture(rows))


def _run(command: list) -> dict:
    """Seconds as the child prints them, and its peak anonymous memory in bytes: what is not a file's own pages."""
    peak = 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([str(c) for c in command], stdout=out, stderr=errors)
        while child.poll() is None:
            peak = max(peak, _anonymous(child.pid))
            time.sleep(0.02)
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            raise SystemExit(f"{command[1]} failed:\n{errors.read()[-3000:]}")
        return {**json.loads(out.read().strip().splitlines()[-1]), "peak": peak}


def _anonymous(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


def _zeros(state) -> float:
    blocks = [state.weights[f"{name}.weight"] for name in state.layout.linears]
    return sum(int((w == 0).sum()) for w in blocks) / max(1, sum(w.numel() for w in blocks))


def _ratio(ours: dict, theirs: dict) -> None:
    worst = max(p / theirs["perplexity"][d] for d, p in ours["perplexity"].items())
    print(
        f"{'  ours : theirs':15} {ours['method']:10} {ours['structure']}  perplexity x{worst:.3f} (worst domain)  "
        f"seconds x{ours['seconds'] / theirs['seconds']:.2f}  memory x{ours['peak'] / theirs['peak']:.2f}",
        flush=True,
    )


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.5))
    labels = [f"{r['method']} {r['structure']}\n{r['tool']}" for r in rows]
    colours = ["C0" if r["tool"] == "birdbone" else "C1" for r in rows]
    for panel, key, name in zip(
        panels, ("kl", "seconds", "peak"), ("KL to the seed", "seconds", "peak bytes"), strict=True
    ):
        panel.barh(labels, [r[key] for r in rows], color=colours)
        panel.set(xlabel=name)
        panel.invert_yaxis()
        panel.tick_params(labelsize=6)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
