"""Rows of the report about its steps: what vocabulary, pruning, healing, regrowth and rounding each
did to size and quality.
"""

from __future__ import annotations

from collections.abc import Sequence

from birdbone.report.data import File, Measure, Step

HEALED_SEED = "the seed, healed alike"


def step_rows(
    files: Sequence[File], seed_metrics: dict, waves: Sequence[dict], rounding: dict, control: dict
) -> list[Step]:
    """The seed, then every step that changed the model, in order.

    Sizes are those of an f16 file until rounding makes the export. waves: their reports; those
    after the last accepted one are no part of the export. control: the seed's own figures where it
    was healed.
    """
    by_role = {row["role"]: row for row in files}
    seed, ours = by_role["seed"], by_role["ours"]
    trimmed = by_role.get("trimmed", seed)
    rows: list[Step] = [_row("seed", seed["bytes"], seed["macs_per_token"], 0.0)]
    for step in seed_metrics["trace"]:
        rows.append(
            _row(step["step"], trimmed["bytes"], seed_metrics["macs_per_token"], step["kl"])
        )
        rows[-1] |= _beside(step)
    last = max((w["wave"] for w in waves if w["verdict"]["status"] == "accepted"), default=0)
    for wave in waves:
        for step in wave["trace"]:
            gone = seed_metrics["parameters"] - step["parameters"]
            row = _row(
                f"wave {wave['wave']}: {step['step']}",
                trimmed["bytes"] - 2 * gone,
                step["macs_per_token"],
                step["kl"],
            )
            row |= _beside(step)
            if step["step"] == "healing" and control["measured"]:
                row |= {"control": HEALED_SEED, "control_kl": _mean_kl(control["domains"])}
            if wave["wave"] > last:
                row["verdict"] = wave["verdict"]["status"]
            rows.append(row)
    rows.append(_row("rounding", ours["bytes"], rounding["macs_per_token"], rounding["kl"]))
    rows[-1] |= _beside(rounding)
    return rows


def _row(step: str, size: int, macs: int, kl: Measure) -> Step:
    return {"step": step, "bytes": size, "macs_per_token": macs, "kl": kl}


def _beside(step: dict) -> dict:
    control = step.get("control")
    return {"control": control["what"], "control_kl": control["kl"]} if control else {}


def _mean_kl(domains: dict[str, dict]) -> float:
    tokens = sum(row["tokens"] for row in domains.values())
    return sum(row["kl"] * row["tokens"] for row in domains.values()) / tokens
