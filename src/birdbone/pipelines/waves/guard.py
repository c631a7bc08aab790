"""Stage 8: judge the wave, keep it or go back."""

from __future__ import annotations

from pathlib import Path

from birdbone.algo.perplexity import without_documents, worst_change
from birdbone.algo.stop_loss import standing_after
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.harness import guarded
from birdbone.model.judging.judge import judge
from birdbone.model.judging.reference import Reference, States
from birdbone.model.network import build
from birdbone.model.sizes import sizes
from birdbone.text.canaries import load_canaries
from birdbone.text.texts import Texts


def judge_wave(
    accepted: Checkpoint,
    before: dict,
    regrown: Checkpoint,
    seed: Checkpoint,
    seed_states: States,
    tokenizer_folder: Path,
    texts: Texts,
    seed_tasks: dict,
    control: dict,
    regrow_report: dict,
    canaries: str | None,
    wave_share: float,
    max_loss: float,
    device: str,
    random_seed: int,
) -> tuple[Checkpoint, Checkpoint, dict]:
    """Judge the wave: (state the next wave starts from, last accepted state, verdict)."""
    if before["stopped"]:
        return accepted, accepted, {**before, **standing_after(_standing(before), False)}
    place = resolve_device(device)
    network = build(regrown, place)
    figures = judge(network, Reference(seed, seed_states.guard), texts.guard, random_seed)
    domain, change = worst_change(figures, control.get("domains"))
    limit = max_loss * wave_share
    label = f"wave {before['wave'] + 1}"
    tasks, lost = guarded(label, regrown, tokenizer_folder, seed_tasks, device, random_seed)
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
        "canaries": score_canaries(
            network, read_tokenizer(tokenizer_folder), load_canaries(canaries)
        ),
        "accepted_change": change if passed else before["accepted_change"],
        "check_loss": check_loss if passed else before["check_loss"],
        **sizes(state, seed.block_parameters),
    }
    return state, (regrown if passed else accepted), verdict


def _standing(before: dict) -> dict:
    return {key: before[key] for key in ("wave", "status", "strikes", "halvings", "stopped")}
