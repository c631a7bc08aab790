"""The mixture's page, its table for the terminal, and its model card."""

from __future__ import annotations

import plotly.graph_objects as go
import yaml

from birdbone.report import numbers
from birdbone.report.card import fenced, markdown
from birdbone.report.chart_style import CONTROL, INK, OURS, PEER, SEED, dressed
from birdbone.report.embed import rendered
from birdbone.report.reproduce import reproduction

COLOURS = {"topology": SEED, "kmeans": CONTROL, "random": PEER}


def rendered_page(report: dict, speed: dict, about: dict, command: str) -> str:
    """``moe.html``: charts, table and sentences; opens with no network."""
    return rendered(
        "birdbone.mixture/page.html",
        {"quality": quality_chart(report["rows"]), "speed": speed_chart(report["shape"], speed)},
        name=about["name"],
        shape=report["shape"],
        steps=report["healing"]["steps"],
        sentences=sentences(report),
        rows=[_cells(row, speed) for row in report["rows"]],
        referee=report["referee"],
        dense=speed["dense"],
        reproduce=reproduce(about, command),
    )


def sentences(report: dict) -> list[str]:
    """What the intervals show: topology against each other grouping, healing, all experts on."""
    others = dict.fromkeys(row["against"] for row in report["comparisons"])
    return [*(_verdict(report, other) for other in others), *_healing(report), _all_on(report)]


def reproduce(about: dict, command: str) -> str:
    """What makes the mixture again: the run it is cut from, and its own pipeline after it."""
    return reproduction(f"{command}\n{command.splitlines()[-1]} --pipelines=moe", about["digest"])


def table(report: dict, speed: dict, about: dict, command: str) -> str:
    """Experts on, perplexity, KL and speed per grouping, for the terminal."""
    head = (
        "experts on",
        "share",
        "grouping",
        "perplexity",
        "change to the seed, 95 %",
        "KL",
        "prompt/s",
        "decode/s",
    )
    rows = [tuple(_cells(row, speed).values()) for row in report["rows"]]
    dense = speed["dense"]
    speeds = [numbers.plain(dense["prompt"], 0), numbers.plain(dense["decode"], 1)]
    rows.append(("dense", *[""] * 5, *speeds))
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(["", *lines, "", *sentences(report), "", reproduce(about, command), ""])


def quality_chart(rows: list[dict]) -> go.Figure:
    """Perplexity of all guard text over the share of experts on, per grouping and healed."""
    figure = go.Figure()
    dense = [row for row in rows if row["share"] == 1]
    series: dict[str, list[dict]] = {}
    for row in rows:
        if row["share"] < 1:
            series.setdefault(_label(row), []).append(row)
    for name, points in series.items():
        points = sorted([*points, *dense], key=lambda row: row["share"])
        healed = points[0]["healed"]
        figure.add_scatter(
            x=[100 * row["share"] for row in points],
            y=[row["perplexity"] for row in points],
            mode="lines+markers",
            name=name,
            line={
                "color": OURS if healed else COLOURS[points[0]["grouping"]],
                "width": 3 if healed else 2,
            },
            marker={"size": 8},
            hovertemplate="%{x:.0f} % on: %{y:.2f}<extra>" + name + "</extra>",
        )
    for row in dense[:1]:
        figure.add_hline(row["seed_perplexity"], line={"color": INK, "dash": "dot", "width": 1.5})
    figure.update_yaxes(type="log", tickformat="~g", nticks=8)
    figure.update_xaxes(tickvals=sorted({100 * row["share"] for row in rows}))
    return dressed(figure, 380, "routed experts on (%)", "perplexity (log scale)")


def speed_chart(shape: dict, speed: dict) -> go.Figure:
    """llama.cpp's tokens per second over the share of experts on, against the dense model."""
    figure = go.Figure()
    points = sorted(
        (int(name) / shape["experts"], figures)
        for name, figures in speed.items()
        if name != "dense"
    )
    for kind, colour in (("prompt", SEED), ("decode", OURS)):
        figure.add_scatter(
            x=[100 * share for share, _ in points],
            y=[figures[kind] / speed["dense"][kind] for _, figures in points],
            customdata=[figures[kind] for _, figures in points],
            mode="lines+markers",
            name=kind,
            line={"color": colour, "width": 2},
            marker={"size": 8},
            hovertemplate="%{x:.0f} % on: %{customdata:.1f} tokens/s, %{y:.2f} × dense<extra>"
            + kind
            + "</extra>",
        )
    figure.add_hline(1, line={"color": INK, "dash": "dot", "width": 1.5})
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(tickvals=[100 * share for share, _ in points])
    return dressed(figure, 380, "routed experts on (%)", "speed (× dense)")


def card(shape: dict, about: dict, command: str) -> str:
    """README.md of the folder for ``from_pretrained``."""
    front = {"license": about["licence"]} if about["licence"] else {}
    front |= {"library_name": "transformers", "tags": ["birdbone", "mixture-of-experts"]}
    name = markdown(about["name"])
    return (
        "---\n"
        f"{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n"
        f"# {name} as a mixture of experts\n\n"
        f"The feed-forward layers of {name} cut into a shared expert of {shape['shared']} neurons "
        f"and {shape['experts']} experts of {shape['width']}, grouped by {shape['grouping']}; "
        f"{shape['active']} are on per token. With all of them on (`num_experts_per_tok`) it is "
        "the dense model to rounding. Stock `Glm4MoeForCausalLM`. Load it in float32 or bfloat16: "
        "its routers are tiny on purpose, and float16 rounds them away. Made by birdbone.\n\n"
        "## Reproduce\n\n"
        f"{fenced(reproduce(about, command), 'sh')}\n"
    )


def _verdict(report: dict, other: str) -> str:
    comparisons = sorted(
        (row for row in report["comparisons"] if row["against"] == other),
        key=lambda row: row["share"],
    )
    better = [row for row in comparisons if row["change"][2] < 0]
    worse = [row for row in comparisons if row["change"][1] > 0]
    shown = ", ".join(
        f"{numbers.share(row['share'], 0)} on: {numbers.change(row['change'])}"
        for row in comparisons
    )
    if len(better) == len(comparisons):
        sentence = f"Topology grouping beats {other} grouping"
    elif len(worse) == len(comparisons):
        sentence = f"Topology grouping does not beat {other} grouping: it is worse"
    elif better:
        where = " and ".join(numbers.share(row["share"], 0) for row in better)
        sentence = (
            f"Topology grouping beats {other} grouping with {where} of the experts on, and not "
            "elsewhere"
        )
    else:
        sentence = f"Topology grouping does not beat {other} grouping"
    return f"{sentence} (perplexity, 95 % over documents; {shown})."


def _healing(report: dict) -> list[str]:
    """What healing did, at its own number of experts."""
    active = report["shape"]["active"]
    grouping = report["shape"]["grouping"]
    by = {
        row["healed"]: row
        for row in report["rows"]
        if row["active"] == active and row["grouping"] == grouping
    }
    steps = report["healing"]["steps"]
    kl = report["healing"]["kl"]
    if len(by) < 2 or not steps:
        return []
    opening = (
        f"{steps} steps of healing the routers, with {active} of {report['shape']['experts']} on: "
    )
    on_check = f"KL on text of its own {numbers.nats(kl[0])} before, {numbers.nats(kl[1])} after"
    if not report["healing"]["kept"]:
        return [f"{opening}{on_check}; not kept."]
    before, after = (numbers.plain(by[healed]["perplexity"]) for healed in (False, True))
    return [f"{opening}perplexity {before} before, {after} after ({on_check})."]


def _all_on(report: dict) -> str:
    row = next((row for row in report["rows"] if row["share"] == 1), None)
    if row is None:
        return "All experts on was not measured: 1 is not among moe.compare.shares."
    return (
        f"With all experts on, KL from the seed is {row['kl']:.1e} nats, perplexity changes by "
        f"{row['change']:+.1e}."
    )


def _cells(row: dict, speed: dict) -> dict[str, str]:
    change = [row["change"], row["change_low"], row["change_high"]]
    tokens_per_second = speed[str(row["active"])]
    return {
        "active": str(row["active"]),
        "share": numbers.share(row["share"], 0),
        "name": "all on" if row["share"] == 1 else _label(row),
        "perplexity": numbers.plain(row["perplexity"]),
        "change": numbers.change(change),
        "kl": numbers.nats(row["kl"]),
        "prompt": numbers.plain(tokens_per_second["prompt"], 0),
        "decode": numbers.plain(tokens_per_second["decode"], 1),
    }


def _label(row: dict) -> str:
    return f"{row['grouping']}, healed" if row["healed"] else row["grouping"]
