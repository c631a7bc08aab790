"""Stage 8: judge the wave, keep it or go back."""

from __future__ import annotations

from pathlib import Path

from birdbone.algo.perplexity import plain, worst_change
from birdbone.algo.stop_loss import judge as next_standing
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.judging.canaries import score_canaries
from birdbone.model.judging.harness import guarded
from birdbone.model.judging.judge import judge
from birdbone.model.judging.reference import Reference, States
from birdbone.model.network import build
from birdbone.text.canaries import load_canaries
from birdbone.text.texts import Texts


def guard(
    accepted: Checkpoint,
    before: dict,
    regrown: Checkpoint,
    seed: Checkpoint,
    seed_states: States,
    tokenizer_folder: Path,
    texts: Texts,
    seed_metrics: dict,
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
        return accepted, accepted, {**before, **next_standing(_standing(before), False)}
    place = resolve_device(device)
    network = build(regrown, place)
    figures = judge(network, Reference(seed, seed_states.guard), texts.guard, random_seed)
    domain, change = worst_change(figures, control.get("domains"))
    limit = max_loss * wave_share
    label = f"wave {before['wave'] + 1}"
    tasks, lost = guarded(label, regrown, tokenizer_folder, seed_tasks, device, random_seed)
    standing = next_standing(_standing(before), change <= limit and not lost)
    passed = standing["status"] == "accepted"
    state = regrown if not standing["stopped"] else accepted
    verdict = {
        **standing,
        "limit": limit,
        "worst_domain": domain,
        "worst_change": change,
        "domains": plain(figures),
        "tasks": tasks,
        "tasks_lost": lost,
        "canaries": score_canaries(network, read_tokenizer(tokenizer_folder), load_canaries(canaries)),
        "accepted_change": change if passed else before.get("accepted_change", 0.0),
        "check_loss": regrow_report.get("check_loss") if passed else before.get("check_loss"),
        **sizes(state, seed_metrics),
    }
    return state, (regrown if passed else accepted), verdict


def sizes(checkpoint: Checkpoint, seed_metrics: dict) -> dict:
    """How much is left, by the one definition: ``sparsity`` is the share of block weights removed."""
    return {
        "sparsity": 1 - checkpoint.block_parameters / seed_metrics["block_parameters"],
        "parameters": checkpoint.parameters,
        "macs_per_token": checkpoint.macs_per_token,
        "ffn_widths": checkpoint.counts("ffn"),
        "kv_groups": checkpoint.counts("kv"),
        "masked_weights": checkpoint.masks.masked,
    }


def _standing(before: dict) -> dict:
    return {key: before[key] for key in ("wave", "status", "strikes", "halvings", "stopped")}
