"""Stages 5 to 8, one wave: prune, heal, regrow, guard. Each step hands a stopped model through."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from birdbone.algo.perplexity import plain, worst_change
from birdbone.algo.stop_loss import judge as next_standing
from birdbone.algo.stop_loss import may_prune
from birdbone.ledger import workdir
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.evaluate import losses, score_canaries
from birdbone.model.heal import HealSettings
from birdbone.model.heal import heal as heal_model
from birdbone.model.judge import judge
from birdbone.model.live import curve_csv, live_log
from birdbone.model.network import build
from birdbone.model.prune import prune as prune_model
from birdbone.model.prune import sparsity_for, target_nodes
from birdbone.model.regrow import regrow as regrow_model
from birdbone.model.shrink import block_parameters, ffn_width, kv_groups, macs_per_token
from birdbone.text.canaries import load_canaries

Texts = tuple[dict[str, Tensor], dict]


def prune(start: Checkpoint, before: dict, node_scores: tuple, clusters: tuple, texts: Texts, seed_metrics: dict,
          settings: dict, target_sparsity: float, target_bytes: int | None, widths: str, quantize: dict,
          cap: float | None, device: str) -> tuple[Checkpoint, dict]:
    """Remove the least valuable nodes of every cluster and repair what they leave; mask weights if asked."""
    wave = before["wave"] + 1
    if not may_prune(before):
        return start, {"wave": wave, "changed": False, "removed": {}, "why": _why_not(before)}
    target = max(target_sparsity, sparsity_for(target_bytes, start, seed_metrics["block_parameters"], quantize))
    step = settings["step"] * 0.5 ** before["halvings"]
    amount = target_nodes(block_parameters(start), seed_metrics["block_parameters"], step, target)
    pruned, report = prune_model(start, amount, node_scores[0], clusters[0], texts[0]["calibration"], settings,
                                 widths, cap, resolve_device(device))
    return pruned, {"wave": wave, "target_sparsity": target, **report}


def heal(pruned: Checkpoint, prune_report: dict, before: dict, seed: Checkpoint, texts: Texts, settings: dict,
         device: str, random_seed: int) -> tuple[Checkpoint, dict, str]:
    """Distil the seed into what is left; skipped where nothing changed since an accepted state."""
    wave = before["wave"] + 1
    unchanged = not prune_report["changed"] and before["status"] == "accepted"
    if before["stopped"] or settings["steps"] == 0 or unchanged:
        return pruned, {"wave": wave, "steps": 0, "why": _why_not(before) or "nothing to heal"}, curve_csv([])
    with live_log(f"wave_{wave}.heal") as on_step:
        healed, curve = heal_model(pruned, seed, texts[0]["heal"], HealSettings(**settings), random_seed + wave,
                                   resolve_device(device), workdir(), on_step, f"wave {wave}: heal")
    return healed, {"wave": wave, "steps": len(curve), "curve": curve}, curve_csv(curve)


def regrow(healed: Checkpoint, before: dict, seed: Checkpoint, seed_metrics: dict, texts: Texts, settings: dict,
           recipe: dict, multiple: int, device: str, random_seed: int) -> tuple[Checkpoint, dict]:
    """Bring back up to ``share`` of the removed neurons where the loss is still over its last accepted value."""
    wave, place = before["wave"] + 1, resolve_device(device)
    if before["stopped"] or settings["share"] == 0:
        return healed, {"wave": wave, "returned": {}, "why": _why_not(before) or "regrow.share is 0"}
    check = texts[0]["check"]
    loss = float(losses(build(healed, place), check, f"wave {wave}: check").sum()) / (check.numel() - len(check))
    accepted = before.get("check_loss") or float(torch.tensor(seed_metrics["check_perplexity"]).log())
    report = {"wave": wave, "check_loss": loss, "accepted_loss": accepted, "returned": {}}
    if loss <= accepted + settings["epsilon"]:
        return healed, {**report, "why": "the loss is within epsilon of its last accepted value"}
    rows = -(-settings["tokens"] // check.shape[1])
    grown, returned = regrow_model(healed, seed, texts[0]["heal"][:rows], settings["share"], multiple, place)
    if not returned:
        return healed, {**report, "why": f"{settings['share']:.0%} of what is gone is less than one step of {multiple}"}
    if settings["heal_steps"]:
        brief = HealSettings(**{**recipe, "steps": settings["heal_steps"]})
        grown, _ = heal_model(grown, seed, texts[0]["heal"].flip(0), brief, random_seed + wave, place,
                              workdir(), label=f"wave {wave}: heal what returned")
    return grown, {**report, "returned": returned}


def guard(accepted: Checkpoint, before: dict, regrown: Checkpoint, seed: Checkpoint,
          tokenizer_folder: Path, texts: Texts, seed_metrics: dict, control: dict, regrow_report: dict, text: dict,
          settings: dict, max_loss: float, device: str, random_seed: int) -> tuple[Checkpoint, Checkpoint, dict]:
    """Judge the wave: (state the next wave starts from, last accepted state, verdict)."""
    if before["stopped"]:
        return accepted, accepted, {**before, **next_standing(_standing(before), 0.0, 0.0)}
    place = resolve_device(device)
    network = build(regrown, place)
    figures = judge(network, build(seed, place), texts[0], "guard", random_seed)
    domain, change = worst_change(figures, control.get("domains"))
    limit = max_loss * settings["wave_share"]
    standing = next_standing(_standing(before), change, limit)
    passed = standing["status"] == "accepted"
    state = regrown if not standing["stopped"] else accepted
    verdict = {
        **standing, "limit": limit, "worst_domain": domain, "worst_change": change, "domains": plain(figures),
        "canaries": score_canaries(network, read_tokenizer(tokenizer_folder), load_canaries(text["canaries"])),
        "check_loss": regrow_report.get("check_loss") if passed else before.get("check_loss"),
        **sizes(state, seed_metrics),
    }
    return state, (regrown if passed else accepted), verdict


def sizes(checkpoint: Checkpoint, seed_metrics: dict) -> dict:
    """How much is left, by the one definition: ``sparsity`` is the share of block weights removed."""
    layers = range(checkpoint.layers)
    masked = {n: m for n, m in checkpoint.masks.items() if n.startswith("weight.")}
    return {
        "sparsity": 1 - block_parameters(checkpoint) / seed_metrics["block_parameters"],
        "parameters": checkpoint.parameters, "macs_per_token": macs_per_token(checkpoint),
        "ffn_widths": [ffn_width(checkpoint, i) for i in layers],
        "kv_groups": [kv_groups(checkpoint, i) for i in layers],
        "masked_weights": sum(int((~m).sum()) for m in masked.values()),
    }


def _standing(before: dict) -> dict:
    return {key: before[key] for key in ("wave", "status", "strikes", "halvings", "stopped")}


def _why_not(before: dict) -> str:
    if before["stopped"]:
        return "stopped: the last accepted model is handed through"
    return "first strike: this wave only heals or regrows" if before["strikes"] else ""
