"""Bytes against quality: our roundings at several sizes beside llama.cpp's own types of the same model.

One-shot: nothing is pruned or healed. Measured on an off-grid twin of the seed (see twin.py), or with
``--grid own`` on the seed itself. Perplexity, KL and top-1 are llama.cpp's own, on test text, against f16.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from importance_matrix import importance_matrix, requantize
from twin import twin
from workbench import Artifacts, arguments, fewer, save

from birdbone.algo.budget import assign
from birdbone.gguf import llamacpp
from birdbone.gguf.plan import priced_together
from birdbone.gguf.quality import quality
from birdbone.gguf.writer import write_gguf
from birdbone.model.device import resolve_device
from birdbone.model.judging.evaluate import compare
from birdbone.model.network import build
from birdbone.model.observing.gradients import node_moments
from birdbone.model.rounding.rounder import Rounder, with_vectors
from birdbone.model.scores import Scores
from birdbone.pipelines.quantize.settings import QuantizeSettings

PEERS = "Q8_0,Q5_K_M,Q4_K_M,IQ4_NL,Q4_0,Q3_K_M"
WITH_IMPORTANCE = {"Q4_K_M", "IQ4_NL", "IQ4_XS", "Q4_0", "Q3_K", "Q3_K_M"}
"""Where llama.cpp's importance matrix is said to pay: below five bits."""


def main() -> None:
    asked = arguments(__doc__, grid="twin", peers=PEERS, steps="1,1.05,1.18", windows=4, speed_tokens=32)
    found = Artifacts(asked.env)
    seed, texts, settings = found.seed_model, found.texts, found.settings(QuantizeSettings, "quantize")
    device, scores = resolve_device(found.parameters["device"]), found.node_scores
    if asked.grid == "twin":
        seed, scores = _twin(seed, texts.calibration, device)
    test = fewer(texts.test, asked.windows)
    rows_of = {name: domain.windows for name, domain in test.items()}

    tokenizer, rows = found.tokenizer, []
    with tempfile.TemporaryDirectory(prefix="birdbone-") as temporary:

        def measure(name: str, path: Path, role: str) -> None:
            figures = quality(path, rows_of, folder)
            worst = max(p / rows[0]["perplexity"][d] - 1 for d, p in figures["perplexity"].items()) if rows else 0.0
            rows.append({"name": name, "role": role, "bytes": path.stat().st_size, **figures, "worst": worst})
            files[name] = path
            print(
                f"{name:30} {path.stat().st_size / 1e6:7.1f} MB  worst {worst:+7.2%}  KL {figures['kl']:.4f}  "
                f"top-1 {figures['top1']:.1%}",
                flush=True,
            )

        folder, files = Path(temporary), {}
        f16 = folder / "f16.gguf"
        write_gguf(f16, seed, tokenizer, default_type="f16")
        measure("f16", f16, "seed")
        rounder = Rounder(seed, texts.calibration, found.second_moments, scores, settings, device)
        options, members = priced_together(seed, rounder.options)
        smallest = sum(min(o.bytes for o in offered) for offered in options.values())
        for step in asked.steps.split(","):
            chosen = assign(options, max_bytes=int(float(step) * smallest))
            types = {n: kind for first, kind in chosen.items() for n in members[first]}
            packed = rounder.apply(types)[1]
            path = folder / f"ours-{step}.gguf"
            write_gguf(
                path,
                with_vectors(seed, packed, types),
                tokenizer,
                packed={n: (types[n], p.numpy()) for n, p in packed.items() if n in types},
                types={n: t for n, t in types.items() if n not in packed},
            )
            measure(f"birdbone x{step}", path, "ours")
        importance = importance_matrix(seed, texts.calibration, device)
        for kind in asked.peers.split(","):
            path = folder / f"{kind}.gguf"
            substituted = llamacpp.quantize(f16, path, kind)
            name = f"{kind}{f' ({len(substituted)} other)' if substituted else ''}"
            measure(name, path, "peer")
            if kind in WITH_IMPORTANCE:
                helped = folder / f"{kind}-imatrix.gguf"
                shutil.copyfile(path, helped)
                requantize(helped, f16, importance)
                measure(f"{name} imatrix", helped, "peer with imatrix")
        speeds = llamacpp.speeds(files, generated=asked.speed_tokens)
    for row in rows:
        row |= speeds[row["name"]]
        print(f"{row['name']:30} {row['decode'] / rows[0]['decode']:.2f} x f16's decode, {row['decode']:.0f} tokens/s")
    save(f"frontier-{asked.grid}", asked, rows, _picture(rows))


def _twin(seed, calibration: torch.Tensor, device: str):
    """The twin and its own scan. Raises SystemExit where its function differs."""
    other = twin(seed)
    full, windows = build(seed, device), calibration[:2]
    measured = compare(
        build(other, device), lambda rows: full(windows[rows].to(device).long()).logits, windows, "twin against seed"
    )
    kl = float(measured["kl"].sum()) / (2 * (calibration.shape[1] - 1))
    if kl > 1e-6:
        raise SystemExit(f"the twin is no twin: KL {kl:.1e} to the seed")
    print(f"off-grid twin: KL {kl:.1e} to the seed")
    _, fisher, tokens = node_moments(build(other, device), seed.layout, calibration, "scan the twin")
    return other, Scores(fisher=fisher, tokens=tokens)


def _picture(rows: list[dict]) -> plt.Figure:
    """KL against bytes and against decoding speed; a colour for each type of llama.cpp's, filled with an importance
    matrix."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    f16 = next(r for r in rows if r["role"] == "seed")
    types = list(dict.fromkeys(r["name"].split(" ")[0] for r in rows if r["role"].startswith("peer")))
    ours = sorted((r for r in rows if r["role"] == "ours"), key=lambda r: r["bytes"])
    axes = (
        ("file, MB", lambda r: r["bytes"] / 1e6),
        ("decoding, times f16's tokens/s", lambda r: r["decode"] / f16["decode"]),
    )
    for panel, (label, value) in zip(panels, axes, strict=True):
        panel.plot([value(r) for r in ours], [r["kl"] for r in ours], "o-", color="black", label="birdbone")
        for row in rows:
            if row["role"].startswith("peer"):
                name, imatrix = row["name"].split(" ")[0], row["role"] == "peer with imatrix"
                panel.plot(
                    value(row),
                    row["kl"],
                    "D",
                    color=f"C{types.index(name)}",
                    fillstyle="full" if imatrix else "none",
                    label=f"{name}, importance matrix" if imatrix else name,
                )
        panel.set(xlabel=label, yscale="log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("KL to f16, nats per token")
    panels[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
