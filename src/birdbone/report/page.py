"""``report.html``: one file that opens with no network, in the order a reviewer asks."""

from __future__ import annotations

import plotly.graph_objects as go

from birdbone.report import charts, numbers
from birdbone.report.data import ReportData, judged, value
from birdbone.report.embed import rendered
from birdbone.report.frontier import frontier
from birdbone.report.heatmaps import importance_heatmap, mask_heatmap
from birdbone.report.price import price
from birdbone.report.waterfall import step_cells, waterfall
from birdbone.report.wave_charts import healing_curve, wave_chart


def render(data: ReportData) -> str:
    """The report as one HTML document: equal data gives equal text, and nothing is fetched."""
    return rendered(
        "birdbone.report/template.html",
        plots(data),
        d=data,
        cards=cards(data),
        absent=absent(data),
        settings=flattened(data.settings),
        domains=list(dict.fromkeys(d for row in data.files for d in row.get("perplexity", {}))),
        value=value,
        judged=judged,
        flagged=flagged,
        price=price(data),
        step_cells=step_cells,
        interval=numbers.interval,
    )


def cards(data: ReportData) -> list[dict]:
    """The headline: label, figure, interval and what it is compared with. A miss shows a dash."""
    ours, seed, source = (data.file(role) or {} for role in ("ours", "seed", "source"))
    worst = data.worst
    removed = []
    if data.reached is not None:
        target = "" if data.target is None else f", {numbers.share(data.target)} asked"
        removed = [f"{numbers.share(data.reached)} of the blocks removed{target}"]
    return [
        {
            "label": "File size",
            "figure": numbers.size(ours.get("bytes")),
            "lines": [
                f"{name} {numbers.size(other['bytes'])}, "
                + numbers.times(other["bytes"], ours["bytes"])
                for name, other in (("seed f16", seed), ("source file", source))
                if ours and other
            ],
        },
        {
            "label": "Parameters",
            "figure": numbers.amount(data.parameters_left),
            "lines": [
                f"seed {numbers.amount(data.parameters_seed)}",
                *([f"{data.tokens[0]:,} of {data.tokens[1]:,} tokens"] if data.tokens else []),
                *removed,
            ],
        },
        {
            "label": "MACs per token",
            "figure": numbers.amount(ours.get("macs_per_token")),
            "lines": [
                f"seed {numbers.amount(seed['macs_per_token'])}, "
                + numbers.change(ours["macs_per_token"] / seed["macs_per_token"] - 1)
            ]
            if ours.get("macs_per_token") and seed.get("macs_per_token")
            else [],
        },
        {
            "label": "Decode speed",
            "figure": numbers.plain(ours.get("tokens_per_second"), 1),
            "unit": "tokens/s",
            "lines": [
                f"seed f16 {numbers.plain(seed['tokens_per_second'], 1)}, "
                + numbers.times(ours["tokens_per_second"], seed["tokens_per_second"])
            ]
            if ours.get("tokens_per_second") and seed.get("tokens_per_second")
            else [],
        },
        {
            "label": "Worst perplexity change",
            "figure": numbers.change(value(judged(worst))) if worst else numbers.NONE,
            "interval": numbers.interval(judged(worst), numbers.change) if worst else None,
            "lines": [f"{worst['domain']}, limit {numbers.change(data.limit)}"] if worst else [],
        },
        {
            "label": "KL from the seed",
            "figure": numbers.nats(None if data.kl is None else value(data.kl)),
            "unit": "nats",
            "interval": numbers.interval(data.kl, numbers.nats),
            "lines": ["mean over test tokens"],
        },
        {
            "label": "Top-1 agreement",
            "figure": numbers.share(None if data.top1 is None else value(data.top1)),
            "interval": numbers.interval(data.top1, numbers.share),
            "lines": ["same next token as the seed"],
        },
        {
            "label": "Canaries right",
            "figure": numbers.share(answered(data, "after"), 0),
            "lines": [
                f"{name} {numbers.share(answered(data, key), 0)}"
                for name, key in (("seed", "before"), ("control", "control"))
                if answered(data, key) is not None
            ],
        },
    ]


def answered(data: ReportData, key: str) -> float | None:
    """Share of all canaries answered right ``before``, by the ``control`` or ``after``."""
    if not data.canaries or any(key not in row for row in data.canaries):
        return None
    items = sum(row["items"] for row in data.canaries)
    return sum(row["items"] * row[key] for row in data.canaries) / items


def plots(data: ReportData) -> dict[str, go.Figure]:
    """Every chart that the data allows, by the name the template places it under."""
    charts_by_name = {}
    if sum(bool(row.get("perplexity")) for row in data.files) > 1:
        charts_by_name["frontier"] = frontier(data.files)
    if data.domains:
        charts_by_name["changes"] = charts.change_chart(data.domains, data.limit)
    if data.canaries:
        charts_by_name["canaries"] = charts.canary_chart(data.canaries)
    if data.steps:
        charts_by_name["steps"] = waterfall(data.steps)
    if data.waves:
        charts_by_name["waves"] = wave_chart(data.waves, data.limit)
    if data.healing:
        charts_by_name["healing"] = healing_curve(data.healing, data.healing_checks)
    if data.layers:
        charts_by_name["widths"] = charts.width_chart(data.layers)
        charts_by_name["sparsity"] = charts.sparsity_chart(data.layers)
    importance = data.importance or {}
    if importance.get("quantiles"):
        charts_by_name["importance"] = importance_heatmap(dict(enumerate(importance["quantiles"])))
    if importance.get("kept"):
        charts_by_name["kept"] = mask_heatmap(dict(enumerate(importance["kept"])))
    if importance.get("clusters"):
        charts_by_name["clusters"] = charts.cluster_chart(importance["clusters"])
    if importance.get("persistence"):
        charts_by_name["persistence"] = charts.persistence_diagram(
            importance["persistence"], importance.get("threshold")
        )
    return charts_by_name


def absent(data: ReportData) -> list[str]:
    """What the report leaves out because it was not measured."""
    roles = {row["role"] for row in data.files}
    missing = {
        "the exported file": "ours" not in roles,
        "the seed as f16": "seed" not in roles,
        "the file the seed came from": "source" not in roles,
        "llama.cpp's own quantizations of the seed": "peer" not in roles,
        "perplexity per domain": not data.domains,
        "the control (the seed given the same healing)": bool(data.domains)
        and not any("control" in row for row in data.domains),
        "KL to the seed": data.kl is None,
        "top-1 agreement with the seed": data.top1 is None,
        "canaries": not data.canaries,
        "waves": not data.waves,
        "healing curves": not data.healing,
        "widths per layer": not data.layers,
        "the importance picture": not data.importance,
        "generations": not data.generations,
    }
    return [name for name, is_missing in missing.items() if is_missing]


def flattened(tree: dict, prefix: str = "") -> list[tuple[str, str]]:
    """A parameter tree as dotted names and values, in the tree's order."""
    rows = []
    for key, entry in tree.items():
        if isinstance(entry, dict) and entry:
            rows += flattened(entry, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", "null" if entry is None else str(entry)))
    return rows


def flagged(substituted: dict[str, int]) -> str:
    """Substituted tensor types in words: ``180 × Q4_K → Q5_0``."""
    return ", ".join(
        f"{count} × {types.replace('->', '→')}" for types, count in substituted.items()
    )
