"""From the stages' reports to the one ``ReportData`` that page, card and summary show."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Nodes
from birdbone.model.scores import Scores
from birdbone.report.data import (
    Canaries,
    Domain,
    File,
    HealingCheck,
    HealingStep,
    Importance,
    Layer,
    Note,
    ReportData,
    Wave,
)
from birdbone.report.figures import bin_shares
from birdbone.report.reproduce import again

QUANTILES = 21
BINS = 64


def assemble(
    about: dict,
    seed_metrics: dict,
    control: dict,
    quantize_report: dict,
    files: dict,
    files_speed: dict,
    final: dict,
    topology: dict,
    scores: Scores,
    accepted: Checkpoint,
    parameters: dict,
    command: str,
    waves: Sequence[dict],
) -> ReportData:
    """Everything measured, in the report's own words; waves: their reports, in order."""
    passed = final["accepted"] and quantize_report["accepted"] and quantize_report["target_reached"]
    sparsity = 1 - _block_share(accepted, seed_metrics)
    return ReportData(
        model=about["name"],
        base_model=about["base_model"] or about["name"],
        license=about["licence"] or "unknown",
        architecture=accepted.config["model_type"],
        baseline={
            "source": about["origin"],
            "format": about["dequantized_from"]
            or ("random weights" if about["kind"] == "random" else "full precision"),
            "dequantized": bool(about["dequantized_from"]),
        },
        verdict="accepted" if passed else "rejected",
        reason=_reason(final, quantize_report),
        limit=final["limit"],
        files=_files(files, files_speed),
        domains=_domains(final, control, parameters),
        parameters_seed=about["parameters"],
        parameters_left=accepted.parameters,
        target=max(w["prune"].get("target_sparsity", parameters["target_sparsity"]) for w in waves),
        reached=sparsity,
        kl=_mean(final, "kl"),
        top1=_mean(final, "top1"),
        canaries=_canaries(seed_metrics, control, final),
        waves=[wave_row(wave) for wave in waves],
        healing=_healing(waves),
        healing_checks=_checks(waves),
        layers=_layers(accepted, quantize_report),
        importance=_importance(parameters["prune_wave"]["score"], scores, accepted, topology),
        generations=final["generations"],
        notes=_notes(waves, quantize_report, control),
        settings=dict(sorted(parameters.items())),
        digests={"seed": about["digest"], "accepted model": accepted.digest},
        reproduce=again(command, about["digest"]),
    )


def _reason(final: dict, quantize_report: dict) -> str:
    reason = (
        f"on test text the worst domain ({final['worst_domain']}) moves by {final['worst_change']:+.2%}, "
        f"with {final['limit']:.0%} allowed"
    )
    if not quantize_report["accepted"]:
        reason = f"no choice of types passed the guard; {reason}"
    for fell in _fallen(quantize_report["tasks_lost"]):
        reason += f"; {fell}"
    if not quantize_report["target_reached"]:
        reason += (
            f"; target_bytes {quantize_report['target_bytes']:,} was missed: "
            f"the tensors take {quantize_report['tensor_bytes']:,}"
        )
    return reason


def _files(files: dict, speeds: dict) -> list[File]:
    return [
        {
            "name": name,
            **{
                k: row[k]
                for k in (
                    "role",
                    "bytes",
                    "bits_per_weight",
                    "perplexity",
                    "kl",
                    "top1",
                    "substituted",
                    "macs_per_token",
                )
            },
            "tokens_per_second": speeds[name]["decode"],
        }
        for name, row in files.items()
    ]


def _domains(final: dict, control: dict, parameters: dict) -> list[Domain]:
    rows: list[Domain] = []
    for name, f in final["domains"].items():
        row: Domain = {
            "domain": name,
            "before": f["seed_perplexity"],
            "after": f["perplexity"],
            "change": [f["change"], f["change_low"], f["change_high"]],
            "kl": [f["kl"], f["kl_low"], f["kl_high"]],
            "top1": f["top1"],
            "tokens": f["tokens"],
            "documents": f["documents"],
        }
        if control["measured"]:
            held = control["test"][name]
            row |= {
                "control": held["perplexity"],
                "control_change": [held[k] for k in ("change", "change_low", "change_high")],
                "judged_change": f["judged"],
            }
        rows.append(row)
    return rows


def _canaries(seed_metrics: dict, control: dict, final: dict) -> list[Canaries]:
    rows: list[Canaries] = []
    for domain, after in final["canaries"].items():
        row: Canaries = {
            "domain": domain,
            "items": after["prompts"],
            "after": after["accuracy"],
            "before": seed_metrics["canaries"][domain]["accuracy"],
        }
        if control["measured"]:
            row["control"] = control["canaries"][domain]["accuracy"]
        rows.append(row)
    return rows


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
        row["asked"] = pruned["target_sparsity"]
    if "worst_domain" in verdict:
        worst = verdict["domains"][verdict["worst_domain"]]
        row |= {
            "perplexity": worst["perplexity"],
            "delta": verdict["worst_change"],
            "kl": [worst["kl"], worst["kl_low"], worst["kl_high"]],
        }
    return row


def _wave_note(report: dict) -> str:
    pruned = report["prune"]
    regrown = report["regrow"]
    parts = []
    if removed := pruned.get("removed"):
        parts.append(
            f"{sum(removed['ffn'].values())} neurons and {sum(removed['kv'].values())} key-value groups removed"
        )
    if returned := regrown.get("returned"):
        parts.append(f"{sum(returned.values())} neurons regrown")
    parts += _fallen(report["verdict"].get("tasks_lost", {}))
    return "; ".join(parts + [pruned["why"]] if pruned.get("why") else parts)


def _fallen(lost: dict[str, float]) -> list[str]:
    return [
        f"{task} fell by {100 * fall:.1f} points, more than allowed" for task, fall in lost.items()
    ]


def _healing(waves: Sequence[dict]) -> list[HealingStep]:
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


def _checks(waves: Sequence[dict]) -> list[HealingCheck]:
    return [
        {"wave": wave["wave"], "steps": steps, "loss": loss}
        for wave in waves
        for steps, loss in wave["heal"].get("checks", [])
    ]


def _layers(accepted: Checkpoint, quantize_report: dict) -> list[Layer]:
    rows: list[Layer] = []
    for block in accepted.layout.blocks:
        names = [f"{module}.weight" for module in block.linears]
        types = [quantize_report["types"][name] for name in names]
        masks = [accepted.masks.weights[name] for name in names if name in accepted.masks.weights]
        zeros = sum(int((~m).sum()) for m in masks) / max(1, sum(m.numel() for m in masks))
        rows.append(
            {
                "layer": block.layer,
                "ffn_width": accepted.count("ffn", block.layer),
                "ffn_width_seed": block.ffn_width,
                "kv_groups": accepted.count("kv", block.layer),
                "kv_groups_seed": block.kv_heads,
                "weight_sparsity": zeros,
                "type": max(sorted(set(types)), key=types.count),
            }
        )
    return rows


def _importance(score: str, scores: Scores, accepted: Checkpoint, topology: dict) -> Importance:
    layers = range(accepted.layers)
    points = torch.linspace(0, 1, QUANTILES)
    quantiles = [torch.quantile(scores.of("ffn", i, score), points).tolist() for i in layers]
    kept = [bin_shares(accepted.node_mask(Nodes("ffn", i)), BINS) for i in layers]
    found = topology["layers"]
    return {
        "score": score,
        "quantiles": quantiles,
        "kept": kept,
        "clusters": [found[i]["clusters"] for i in layers],
        "persistence": [point for i in layers for point in found[i]["diagram"]],
    }


def _notes(waves: Sequence[dict], quantize_report: dict, control: dict) -> list[Note]:
    notes: list[Note] = []
    for wave in waves:
        if fallback := wave["prune"].get("fallback"):
            notes.append({"kind": "fallback", "text": f"wave {wave['wave']}: {fallback}"})
    if not control["measured"]:
        notes.append(
            {
                "kind": "limit",
                "text": "The control (the seed given the same healing) was not measured.",
            }
        )
    if not quantize_report["target_reached"]:
        notes.append(
            {
                "kind": "limit",
                "text": f"target_bytes {quantize_report['target_bytes']} was not reached.",
            }
        )
    if wide := quantize_report["counts"].get("F16"):
        notes.append(
            {
                "kind": "fallback",
                "text": f"{wide} tensors stay F16: no type of quantize.types fits them.",
            }
        )
    if zeros := quantize_report["zeros"]:
        notes.append(
            {
                "kind": "note",
                "text": f"Masked weights: {zeros['asked']:.1%} zero as asked, "
                f"{zeros['after_rounding']:.1%} zero after rounding.",
            }
        )
    return notes


def _mean(final: dict, key: str) -> float:
    rows = final["domains"].values()
    return sum(f[key] * f["tokens"] for f in rows) / sum(f["tokens"] for f in rows)


def _block_share(accepted: Checkpoint, seed_metrics: dict) -> float:
    return accepted.block_parameters / seed_metrics["block_parameters"]
