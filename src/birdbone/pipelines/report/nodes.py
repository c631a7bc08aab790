"""Report: the peers, the test text (read here alone), and everything measured on one page."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from birdbone.algo.perplexity import judged_change, plain, worst_change
from birdbone.gguf import llamacpp
from birdbone.gguf.header import tensor_types
from birdbone.gguf.plan import beyond_half
from birdbone.gguf.quality import quality
from birdbone.gguf.writer import write_gguf
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.context import within
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.judging.evaluate import generate, score_canaries
from birdbone.model.judging.judge import domains, judge
from birdbone.model.judging.reference import Reference
from birdbone.model.network import build
from birdbone.model.rounding.rounder import dequantized
from birdbone.model.scores import Scores
from birdbone.pipelines.export.nodes import GGUF_NAME
from birdbone.progress import track
from birdbone.report.assemble import assemble
from birdbone.report.card import model_card
from birdbone.report.headline import headline
from birdbone.report.page import render
from birdbone.sources.generation import end_tokens
from birdbone.text.canaries import load_canaries

Texts = tuple[dict[str, Tensor], dict]


def measure_files(
    seed: Checkpoint,
    accepted: Checkpoint,
    about: dict,
    tokenizer_folder: Path,
    gguf_folder: Path,
    texts: Texts,
    report: dict,
    export: dict,
    models: dict,
    model: str,
    threads: int | None,
) -> tuple[dict, dict]:
    """(quality, speed) of ours, the seed at f16, the file it came from and llama.cpp's own types, all by
    llama.cpp on the same test windows; KL and top-1 are against the seed at f16.
    """
    with tempfile.TemporaryDirectory(prefix="birdbone-") as temporary:
        f16 = Path(temporary) / "seed-f16.gguf"
        write_gguf(f16, seed, tokenizer_folder, default_type="f16", types=beyond_half(seed))
        found = [("seed f16", "seed", f16, {}), ("birdbone", "ours", gguf_folder / GGUF_NAME, {})]
        if source := _source_file(model, models):
            found.append((f"source file ({about['dequantized_from'] or 'not quantized'})", "source", source, {}))
        for kind in report["peers"]:
            target = Path(temporary) / f"{kind}.gguf"
            found.append((f"llama.cpp {kind}", "peer", target, llamacpp.quantize(f16, target, kind, threads)))
        rows = _test_rows(texts[0], [path for _, _, path, _ in found], export["perplexity_tokens"])
        qualities, reference = {}, Path(temporary)
        for name, role, path, substituted in track(found, "files in llama.cpp", unit="file"):
            qualities[name] = {
                "role": role,
                "bytes": path.stat().st_size,
                "substituted": _pairs(substituted),
                "types": _counted(tensor_types(path)),
                "macs_per_token": (accepted if role == "ours" else seed).macs_per_token,
                "bits_per_weight": 8 * path.stat().st_size / (accepted if role == "ours" else seed).parameters,
                **quality(path, rows, reference, threads),
            }
        paths = {name: path for name, _, path, _ in found}
        return qualities, llamacpp.speeds(paths, threads, generated=export["speed_tokens"])


def measure_final(
    seed: Checkpoint,
    accepted: Checkpoint,
    quantized: tuple[dict[str, Tensor], dict],
    seed_states: tuple[dict[str, Tensor], dict],
    tokenizer_folder: Path,
    texts: Texts,
    control: dict,
    text: dict,
    report: dict,
    max_loss: float,
    device: str,
    random_seed: int,
) -> dict:
    """The export's own weights against the seed on the test text, canaries, and texts side by side."""
    place, tokenizer = resolve_device(device), read_tokenizer(tokenizer_folder)
    ends, full = end_tokens(tokenizer_folder, tokenizer), build(seed, place)
    after = build(dequantized(accepted, quantized[0], quantized[1]["types"]), place)
    figures = judge(after, Reference(seed, seed_states[0]), texts[0], "test", random_seed)
    reference = control.get("test", {}) if accepted.digest != seed.digest else {}
    domain, change = worst_change(figures, reference)
    for name, found in figures.items():
        found["judged"] = judged_change(found, reference.get(name), random_seed)
    texts_made = [
        {
            "prompt": p,
            "before": generate(full, tokenizer, p, ends, report["generate_tokens"]),
            "after": generate(after, tokenizer, p, ends, report["generate_tokens"]),
        }
        for p in report["prompts"]
    ]
    return {
        "domains": plain(figures),
        "worst_domain": domain,
        "worst_change": change,
        "accepted": change <= max_loss,
        "limit": max_loss,
        "canaries": score_canaries(after, tokenizer, load_canaries(text["canaries"])),
        "generations": texts_made,
    }


def make_page(node_scores: Scores, **measured) -> tuple[str, str, str, str]:
    """(report.html, model card, summary for the terminal, headline figures as JSON); measured: see ``assemble``."""
    from birdbone.report.summary import summary

    data = assemble(scores=node_scores, **measured)
    return render(data), model_card(data), summary(data), json.dumps(headline(data), indent=1) + "\n"


def _test_rows(windows: dict[str, Tensor], files: list[Path], tokens: int) -> dict[str, Tensor]:
    """Test windows of each domain, ``tokens`` in all, that no file's context is too short for."""
    context = min(map(llamacpp.context_length, files))
    rows = {domain: within(windows[f"test.{domain}"], context) for domain in domains(windows, "test")}
    return {domain: found[: max(2, tokens // found.shape[1])] for domain, found in rows.items()}


def _source_file(model: Any, models: dict) -> Path | None:
    """The GGUF file that the seed was read from, where it is the seed and nothing was merged into it."""
    from birdbone.sources.load import locate

    source = locate(model, models)
    return source["path"] if source["kind"] == "gguf" and not source.get("adapter") else None


def _pairs(substituted: dict[str, tuple[str, str]]) -> dict[str, int]:
    pairs = [f"{asked} -> {written}" for asked, written in substituted.values()]
    return {p: pairs.count(p) for p in sorted(set(pairs))}


def _counted(types: dict[str, str]) -> dict[str, int]:
    return {t: list(types.values()).count(t) for t in sorted(set(types.values()))}
