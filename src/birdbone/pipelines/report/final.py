"""The export's own weights on the test text, which is read here alone."""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.algo.perplexity import judged_change, without_documents, worst_change
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.model.generation import end_tokens
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.judge import judge
from birdbone.model.judging.prompts import generate
from birdbone.model.network import build
from birdbone.model.rounding.quantized import Quantized
from birdbone.model.rounding.rounder import dequantized
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.report.settings import ReportSettings
from birdbone.pipelines.yardstick import Yardstick
from birdbone.text.canaries import load_canaries


@dataclass(frozen=True)
class Questions(Together):
    """What is asked of the export, and how much it may have lost."""

    canaries: str | None
    report: ReportSettings
    max_loss: float


def measure_final(
    accepted: Checkpoint,
    quantized: Quantized,
    yardstick: Yardstick,
    control: dict,
    questions: Questions,
    compute: Compute,
) -> dict:
    """The export's own weights against the seed: test text, canaries, generated texts."""
    seed = yardstick.seed
    report = questions.report
    random_seed = compute.random_seed
    tokenizer = read_tokenizer(yardstick.tokenizer_folder)
    ends = end_tokens(yardstick.tokenizer_folder, tokenizer)
    before = build(seed, compute.place)
    after = build(dequantized(accepted, quantized.packed, quantized.types), compute.place)
    all_figures = judge(after, yardstick.test, yardstick.texts.test, random_seed, "test")
    elsewhere = {name: all_figures[name] for name in yardstick.texts.elsewhere}
    figures = {name: row for name, row in all_figures.items() if name not in elsewhere}
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
        **({"elsewhere": without_documents(elsewhere)} if elsewhere else {}),
        "worst_domain": domain,
        "worst_change": change,
        "accepted": change <= questions.max_loss,
        "limit": questions.max_loss,
        "canaries": score_canaries(after, tokenizer, load_canaries(questions.canaries)),
        "generations": generations,
    }
