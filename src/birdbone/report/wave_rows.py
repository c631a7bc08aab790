"""Rows of the report about its waves, from the report of each wave."""

from __future__ import annotations

from collections.abc import Sequence

from birdbone.model.units import UNITS
from birdbone.report.data import HealingCheck, HealingStep, Wave


def wave_row(report: dict) -> Wave:
    """One wave from its report."""
    verdict = report["verdict"]
    pruned = report["prune"]
    row: Wave = {
        "wave": report["wave"],
        "verdict": verdict["status"],
        "reached": verdict["sparsity"],
        "nodes_left": sum(verdict["ffn_widths"]) + sum(verdict["kv_groups"]),
        "note": _wave_note(report),
    }
    if "target_sparsity" in pruned:
        row["target"] = pruned["target_sparsity"]
    if "worst_domain" in verdict:
        worst = verdict["domains"][verdict["worst_domain"]]
        row |= {
            "perplexity": worst["perplexity"],
            "delta": verdict["worst_change"],
            "kl": [worst["kl"], worst["kl_low"], worst["kl_high"]],
        }
    return row


def healing_steps(waves: Sequence[dict]) -> list[HealingStep]:
    """Every step of every wave's healing curve."""
    return [
        {
            "wave": wave["wave"],
            "step": row["step"],
            "loss": row["loss"],
            "kl": row["kl"],
            "cross_entropy": row["ce"],
        }
        for wave in waves
        for row in wave["heal"].get("curve", [])
    ]


def healing_checks(waves: Sequence[dict]) -> list[HealingCheck]:
    """Every measurement on check text, of every wave."""
    return [
        {"wave": wave["wave"], "steps": steps, "loss": loss}
        for wave in waves
        for steps, loss in wave["heal"].get("checks", [])
    ]


def fallen_tasks(lost: dict[str, float]) -> list[str]:
    """A sentence for each benchmark task that lost more than allowed; lost: task -> share."""
    return [
        f"{task} fell by {100 * share:.1f} points, more than allowed"
        for task, share in lost.items()
    ]


def _wave_note(report: dict) -> str:
    pruned = report["prune"]
    regrown = report["regrow"]
    parts = []
    if removed := pruned.get("removed"):
        counts = [UNITS[unit].counted(sum(layers.values())) for unit, layers in removed.items()]
        parts.append(f"{' and '.join(counts)} removed")
    if returned := regrown.get("returned"):
        parts.append(f"{sum(returned.values())} neurons regrown")
    parts += fallen_tasks(report["verdict"].get("tasks_lost", {}))
    if why := pruned.get("why"):
        parts.append(why)
    return "; ".join(parts)
