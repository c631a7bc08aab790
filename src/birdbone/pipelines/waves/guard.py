"""Stage 8: judge the wave, keep it or go back."""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.algo.perplexity import without_documents, worst_change
from birdbone.algo.stop_loss import standing_after
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.harness import guarded
from birdbone.model.judging.judge import judge, trimmed_change
from birdbone.model.network import build
from birdbone.model.sizes import sizes
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Accepted, Compute
from birdbone.pipelines.yardstick import Yardstick
from birdbone.text.canaries import load_canaries


@dataclass(frozen=True)
class Limits(Together):
    """What a wave may cost: tasks and control as measured on the seed, and a share of what
    ``max_loss`` leaves after the vocabulary.
    """

    seed_tasks: dict
    control: dict
    max_loss: float
    wave_share: float
    canaries: str | None


def judge_wave(
    last: Accepted,
    regrown: Checkpoint,
    regrow_report: dict,
    yardstick: Yardstick,
    limits: Limits,
    compute: Compute,
) -> tuple[Checkpoint, Checkpoint, dict]:
    """Judge the wave: (state the next wave starts from, last accepted state, verdict)."""
    accepted, before = last.model, last.verdict
    if before["stopped"]:
        return accepted, accepted, {**before, **standing_after(_standing(before), False)}
    network = build(regrown, compute.place)
    figures = judge(network, yardstick.guard, yardstick.texts.guard, compute.random_seed)
    domain, change = worst_change(figures, limits.control.get("domains"))
    spent = trimmed_change(yardstick.guard, yardstick.texts.guard, compute.random_seed)
    limit = spent + (limits.max_loss - spent) * limits.wave_share
    folder = yardstick.tokenizer_folder
    label = f"wave {before['wave'] + 1}"
    tasks, lost = guarded(
        label, regrown, folder, limits.seed_tasks, compute.device, compute.random_seed
    )
    standing = standing_after(_standing(before), change <= limit and not lost)
    passed = standing["status"] == "accepted"
    check_loss = regrow_report.get("check_loss", before["check_loss"])
    state = regrown if not standing["stopped"] else accepted
    verdict = {
        **standing,
        "limit": limit,
        "worst_domain": domain,
        "worst_change": change,
        "domains": without_documents(figures),
        "tasks": tasks,
        "tasks_lost": lost,
        "canaries": score_canaries(network, read_tokenizer(folder), load_canaries(limits.canaries)),
        "accepted_change": change if passed else before["accepted_change"],
        "check_loss": check_loss if passed else before["check_loss"],
        **sizes(state, yardstick.seed.block_parameters),
    }
    return state, (regrown if passed else accepted), verdict


def _standing(before: dict) -> dict:
    return {key: before[key] for key in ("wave", "status", "strikes", "halvings", "stopped")}
