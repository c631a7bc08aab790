"""From the stages' reports to the one ``ReportData`` that page, card and summary show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.scores import Scores
from birdbone.model.units import Nodes
from birdbone.pipelines.gathered import Together
from birdbone.report.data import (
    Canaries,
    Domain,
    File,
    Importance,
    Layer,
    Note,
    ReportData,
)
from birdbone.report.heatmaps import bin_shares
from birdbone.report.reproduce import reproduction
from birdbone.report.step_rows import step_rows
from birdbone.report.wave_rows import fallen_tasks, healing_checks, healing_steps, wave_row
from birdbone.run.specialise import job_of

QUANTILES = 21
BINS = 64


@dataclass(frozen=True)
class Looked(Together):
    """The seed as it was found: where it is from, its figures, and what its parts do."""

    about: dict
    seed_metrics: dict
    topology: dict
    scores: Scores


@dataclass(frozen=True)
class Shipped(Together):
    """The last accepted model, its rounding and files, and what they are judged by."""

    control: dict
    quantize_report: dict
    rounding_trace: dict
    files: dict
    files_speed: dict
    final: dict
    accepted: Checkpoint


def assemble(
    looked: Looked, shipped: Shipped, parameters: dict, command: str, waves: Sequence[dict]
) -> ReportData:
    """Everything measured, in the report's own words; waves: their reports, in order."""
    about, seed_metrics = looked.about, looked.seed_metrics
    control, quantize_report, final = shipped.control, shipped.quantize_report, shipped.final
    accepted = shipped.accepted
    whole = about.get("trimmed_from", about)
    files = _files(shipped.files, shipped.files_speed)
    passed = final["accepted"] and quantize_report["accepted"] and quantize_report["target_reached"]
    sparsity = 1 - _block_share(accepted, seed_metrics)
    return ReportData(
        model=about["name"],
        job=job_of(parameters.get("specialise")),
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
        files=files,
        domains=_domains(final["domains"], control),
        elsewhere=_domains(final.get("elsewhere", {}), control),
        parameters_seed=whole["parameters"],
        tokens=whole.get("tokens"),
        parameters_left=accepted.parameters,
        target=max(w["prune"].get("target_sparsity", parameters["target_sparsity"]) for w in waves),
        reached=sparsity,
        kl=_mean(final, "kl"),
        top1=_mean(final, "top1"),
        canaries=_canaries(seed_metrics, control, final),
        steps=step_rows(files, seed_metrics, waves, shipped.rounding_trace, control),
        waves=[wave_row(wave) for wave in waves],
        healing=healing_steps(waves),
        healing_checks=healing_checks(waves),
        layers=_layers(accepted, quantize_report),
        importance=_importance(parameters["prune_wave"]["score"], looked, accepted),
        generations=final["generations"],
        notes=_notes(waves, quantize_report, control),
        settings=dict(sorted(parameters.items())),
        digests={
            "seed": whole["digest"],
            **({"trimmed seed": about["digest"]} if whole is not about else {}),
            "accepted model": accepted.digest,
        },
        reproduce=reproduction(command, whole["digest"]),
    )


def _reason(final: dict, quantize_report: dict) -> str:
    reason = (
        f"on test text the worst domain ({final['worst_domain']}) moves by "
        f"{final['worst_change']:+.2%}, with {final['limit']:.0%} allowed"
    )
    if not quantize_report["accepted"]:
        reason = f"no choice of types passed the guard; {reason}"
    for sentence in fallen_tasks(quantize_report["tasks_lost"]):
        reason += f"; {sentence}"
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


def _domains(figures: dict[str, dict], control: dict) -> list[Domain]:
    rows: list[Domain] = []
    for name, f in figures.items():
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
            control_row = control["test"][name]
            row |= {
                "control": control_row["perplexity"],
                "control_change": [
                    control_row[key] for key in ("change", "change_low", "change_high")
                ],
            }
            if "judged" in f:
                row["judged_change"] = f["judged"]
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


def _importance(score: str, looked: Looked, accepted: Checkpoint) -> Importance:
    layers = range(accepted.layers)
    points = torch.linspace(0, 1, QUANTILES)
    quantiles = [torch.quantile(looked.scores.of("ffn", i, score), points).tolist() for i in layers]
    kept = [bin_shares(accepted.node_mask(Nodes("ffn", i)), BINS) for i in layers]
    clusters = looked.topology["layers"]
    return {
        "score": score,
        "quantiles": quantiles,
        "kept": kept,
        "clusters": [clusters[i]["clusters"] for i in layers],
        "persistence": [point for i in layers for point in clusters[i]["diagram"]],
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
