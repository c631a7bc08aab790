"""The export's own weights on the test text, which is read here alone."""

from __future__ import annotations

from pathlib import Path

from birdbone.algo.perplexity import judged_change, without_documents, worst_change
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.generation import end_tokens
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.judge import judge
from birdbone.model.judging.prompts import generate
from birdbone.model.judging.reference import Reference, States
from birdbone.model.network import build
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import dequantized
from birdbone.pipelines.report.settings import ReportSettings
from birdbone.text.canaries import load_canaries
from birdbone.text.texts import Texts


def measure_final(
    seed: Checkpoint,
    accepted: Checkpoint,
    quantized: Quantized,
    seed_states: States,
    tokenizer_folder: Path,
    texts: Texts,
    control: dict,
    canaries: str | None,
    report: ReportSettings,
    max_loss: float,
    device: str,
    random_seed: int,
) -> dict:
    """The export's own weights against the seed: test text, canaries, generated texts."""
    place = resolve_device(device)
    tokenizer = read_tokenizer(tokenizer_folder)
    ends = end_tokens(tokenizer_folder, tokenizer)
    before = build(seed, place)
    after = build(dequantized(accepted, quantized.packed, quantized.types), place)
    figures = judge(after, Reference(seed, seed_states.test), texts.test, random_seed, "test")
    reference = control.get("test", {}) if accepted.digest != seed.digest else {}
    domain, change = worst_change(figures, reference)
    for name, row in figures.items():
        row["judged"] = judged_change(row, reference.get(name), random_seed)
    generations = [
        {
            "prompt": p,
            "before": generate(before, tokenizer, p, ends, report.generate_tokens),
            "after": generate(after, tokenizer, p, ends, report.generate_tokens),
        }
        for p in report.prompts
    ]
    return {
        "domains": without_documents(figures),
        "worst_domain": domain,
        "worst_change": change,
        "accepted": change <= max_loss,
        "limit": max_loss,
        "canaries": score_canaries(after, tokenizer, load_canaries(canaries)),
        "generations": generations,
    }
