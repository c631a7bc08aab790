"""Stage 10: the diff bundle of this run, named by what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from birdbone.datasets.atomic import canonical_json
from birdbone.datasets.tensors import save_tensors
from birdbone.model.checkpoint import Checkpoint, tensors_digest
from birdbone.model.shrink import node_masks

TOOLS = ("torch", "transformers", "peft", "gguf", "safetensors")


def make_bundle(
    seed: Checkpoint, accepted: Checkpoint, seed_metrics: dict, quantize_report: dict, final: dict, parameters: dict
) -> Callable[[Path], dict]:
    """A writer of the bundle: ``manifest.json`` with its id, ``masks.safetensors``, ``metrics.json``, ``report.md``.

    The id is the SHA-256 of the digests of base, new model, masks and configuration and the tools'
    versions: the same change has the same id wherever it is committed.
    """
    core = {
        "base": seed.digest,
        "new": accepted.digest,
        "masks": tensors_digest(accepted.masks),
        "config": hashlib.sha256(canonical_json(parameters).encode()).hexdigest(),
        "tools": {"birdbone": version("birdbone"), **{t: version(t) for t in TOOLS}},
    }
    name = hashlib.sha256(canonical_json(core).encode()).hexdigest()[:12]

    def write(folder: Path) -> dict:
        metrics = {
            "before": {d: f["seed_perplexity"] for d, f in final["domains"].items()},
            "after": {d: f["perplexity"] for d, f in final["domains"].items()},
            "worst_change": final["worst_change"],
            "bytes": quantize_report["tensor_bytes"],
        }
        (folder / "metrics.json").write_text(canonical_json(metrics) + "\n")
        (folder / "report.md").write_text(_report(name, core, accepted, seed_metrics, quantize_report, final))
        masks = {n: m for n, m in node_masks(accepted).items() if not bool(m.all())}
        weight_masks = {n: m for n, m in accepted.masks.items() if n.startswith("weight.")}
        records = save_tensors(
            {**masks, **weight_masks} or {"none": torch.ones(1, dtype=torch.bool)}, folder / "masks.safetensors"
        )
        return {"id": name, **core, "tensors": records}

    return write


def _report(name: str, core: dict, accepted: Checkpoint, seed_metrics: dict, quantize_report: dict, final: dict) -> str:
    left = accepted.parameters / seed_metrics["parameters"]
    lines = [
        f"# Bundle {name}",
        "",
        f"`{core['base'][:12]}` → `{core['new'][:12]}`: tag `birdbone/{name}` on the commit that adds this folder, "
        f"with the trailer `Bundle-Id: {name}`.",
        "",
        "| | before | after |",
        "|:--|--:|--:|",
        f"| parameters | {seed_metrics['parameters']:,} | {accepted.parameters:,} ({left:.1%}) |",
        f"| bytes (f16 → tensors as exported) | {seed_metrics['bytes_f16']:,} | {quantize_report['tensor_bytes']:,} |",
        *(
            f"| perplexity, {d} | {f['seed_perplexity']:.3f} | {f['perplexity']:.3f} ({f['change']:+.2%}) |"
            for d, f in final["domains"].items()
        ),
        "",
        f"Verdict: {'accepted' if final['accepted'] else 'rejected'} "
        f"({final['worst_domain']} {final['worst_change']:+.2%}, {final['limit']:.0%} allowed).",
        "",
        "## What was removed",
        "",
    ]
    removed = {n: int((~m).sum()) for n, m in node_masks(accepted).items() if not bool(m.all())}
    words = {"ffn": "FFN neurons", "kv": "key-value groups"}
    lines += [f"- layer {n.split('.')[1]}: {count} {words[n.split('.')[0]]} removed" for n, count in removed.items()]
    return "\n".join(lines if removed else [*lines, "Nothing."]) + "\n"
