"""Plotly figures of the experts' page: Mapper graph, persistence beside its baseline, ablation."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import networkx
import plotly.graph_objects as go

from birdbone.report.chart_style import BAD, INK, OURS, PEER, RULE, SEED, domain_colours, dressed

TESTS = {
    "h0_total": "H0: total length of the bars",
    "h1_longest": "H1: longest bar",
    "h1_total": "H1: total length of the bars",
}
LEVEL = 0.05


def graph_chart(graph: dict, labels: Sequence[str]) -> go.Figure:
    """The Mapper graph: vertices are candidate experts, edges are circuits (nodes in common).

    A vertex is sized by its nodes and has the colour of the domain it is most selective for. It is
    pale where no domain is beyond chance.
    """
    vertices = graph["vertices"]
    colours = domain_colours(labels)
    places = _places(graph)
    figure = go.Figure()
    xs = []
    ys = []
    for a, b, *_ in graph["edges"]:
        xs += [places[a][0], places[b][0], None]
        ys += [places[a][1], places[b][1], None]
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": "rgba(125,133,144,0.55)", "width": 1.4},
        hoverinfo="skip",
        showlegend=False,
    )
    for label in labels:
        members = [v for v in vertices if _first_domain(v) == label]
        if not members:
            continue
        figure.add_scatter(
            x=[places[v["id"]][0] for v in members],
            y=[places[v["id"]][1] for v in members],
            mode="markers",
            name=escape(label),
            customdata=[f"v{v['id']}" for v in members],
            text=[_vertex_text(v) for v in members],
            hovertemplate="%{text}<extra>" + escape(label) + "</extra>",
            marker={
                "size": [8 + 2.6 * v["size"] ** 0.5 for v in members],
                "color": colours[label],
                "opacity": [0.95 if v["labels"] else 0.32 for v in members],
                "line": {"width": [2 if v["labels"] else 0 for v in members], "color": INK},
            },
        )
    dressed(figure, 560)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure.update_layout(
        margin={"l": 8, "r": 8, "t": 34, "b": 8}, legend={"itemsizing": "constant"}
    )


def diagram_chart(rows: Sequence[dict]) -> go.Figure:
    """Birth and death of one set's bars beside its first permutation; a menu chooses the set."""
    figure = go.Figure()
    series = 0
    shown = [*(r for r in rows if r["where"] == "all"), *(r for r in rows if r["where"] != "all")]
    for row in shown:
        kinds = (
            ("H0", row["diagrams"]["h0"], SEED, "circle", 0.8),
            ("H0, permuted", row["baseline"]["h0"], SEED, "circle-open", 0.45),
            ("H1", row["diagrams"]["h1"], OURS, "diamond", 0.9),
            ("H1, permuted", row["baseline"]["h1"], BAD, "diamond-open", 0.5),
        )
        series = len(kinds)
        for name, bars, colour, symbol, opacity in kinds:
            figure.add_scatter(
                x=[b for b, _ in bars],
                y=[d for _, d in bars],
                mode="markers",
                name=name,
                visible=row is shown[0],
                marker={"size": 7, "color": colour, "symbol": symbol, "opacity": opacity},
                hovertemplate="born %{x:.3f}, dies %{y:.3f}<extra>" + name + "</extra>",
            )
    buttons = [
        {
            "label": "all layers" if row["where"] == "all" else f"layer {row['where']}",
            "method": "restyle",
            "args": ["visible", [place == i // series for i in range(series * len(shown))]],
        }
        for place, row in enumerate(shown)
    ]
    diagrams = [row[side] for row in shown for side in ("diagrams", "baseline")]
    ends = [death for diagram in diagrams for bars in diagram.values() for _, death in bars]
    top = 1.05 * max(ends, default=1.0)
    figure.add_shape(type="line", x0=0, y0=0, x1=top, y1=top, line={"color": RULE, "width": 1})
    dressed(figure, 430, "born at 1 − correlation", "dies at")
    figure.update_xaxes(range=[-0.03, top])
    figure.update_yaxes(range=[0, top])
    menu = {
        "buttons": buttons,
        "x": 1,
        "xanchor": "right",
        "y": 1.02,
        "yanchor": "bottom",
        "font": {"size": 12},
        "bgcolor": "#f3f1ea",
        "pad": {"t": 0, "b": 4},
    }
    return figure.update_layout(updatemenus=[menu])


def test_chart(rows: Sequence[dict], name: str) -> go.Figure:
    """One statistic per layer beside mean ± 2 standard deviations of its permutations."""
    layers = [r for r in rows if r["where"] != "all"]
    xs = [int(r["where"]) for r in layers]
    tests = [r["tests"][name] for r in layers]
    figure = go.Figure()
    figure.add_scatter(
        x=xs,
        y=[t["mean"] for t in tests],
        error_y={
            "type": "data",
            "array": [2 * t["std"] for t in tests],
            "color": PEER,
            "thickness": 1.5,
            "width": 3,
        },
        mode="markers",
        name="permuted, ± 2 sd",
        marker={"size": 6, "color": PEER},
        hovertemplate="layer %{x}: %{y:.3g}<extra>permuted</extra>",
    )
    figure.add_scatter(
        x=xs,
        y=[t["observed"] for t in tests],
        mode="markers",
        name="nodes as they are",
        marker={"size": 8, "color": [OURS if t["p"] <= LEVEL else INK for t in tests]},
        text=[f"p = {t['p']:.3f}" for t in tests],
        hovertemplate="layer %{x}: %{y:.3g}, %{text}<extra></extra>",
    )
    return dressed(figure, 260, "layer")


def ablation_chart(rows: Sequence[dict]) -> go.Figure:
    """Per expert the effect on its own domain and on the others, with 95 % intervals."""
    figure = go.Figure()
    rows = list(reversed(rows))
    names = [f"{escape(row['id'])} · {escape(', '.join(row['labels']))}" for row in rows]
    for key, name, colour, offset, symbol in (
        ("effect", "own domain", OURS, 0.13, "circle"),
        ("others", "other domains", PEER, -0.13, "diamond"),
    ):
        figure.add_scatter(
            x=[row[key][0] for row in rows],
            y=[place + offset for place in range(len(rows))],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [row[key][2] - row[key][0] for row in rows],
                "arrayminus": [row[key][0] - row[key][1] for row in rows],
                "color": colour,
                "thickness": 1.5,
                "width": 4,
            },
            mode="markers",
            name=name,
            marker={"size": 9, "color": colour, "symbol": symbol},
            text=names,
            hovertemplate="%{text}: %{x:+.4f}<extra>" + name + "</extra>",
        )
    figure.add_vline(0, line={"color": INK, "width": 1})
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[-0.6, len(rows) - 0.4]
    )
    return dressed(
        figure, 120 + 44 * len(rows), "loss beyond that of random nodes (nats per token)"
    )


def significant(rows: Sequence[dict], name: str) -> dict[str, float]:
    """Layers whose statistic has p ≤ 0.05, of how many, and how many chance would give."""
    layers = [r["tests"][name] for r in rows if r["where"] != "all"]
    return {
        "count": sum(t["p"] <= LEVEL for t in layers),
        "of": len(layers),
        "chance": LEVEL * len(layers),
    }


def _first_domain(vertex: dict) -> str:
    """The domain that a vertex is most selective for."""
    selectivity = vertex["selectivity"]
    return max(selectivity, key=selectivity.__getitem__)


def _vertex_text(vertex: dict) -> str:
    chance = "beyond chance" if vertex["labels"] else "not beyond chance"
    return f"vertex {vertex['id']}: {vertex['size']} nodes, {chance}"


def _places(graph: dict) -> dict[int, tuple[float, float]]:
    """Each connected part laid out on its own, parts in rows, the largest first."""
    network = networkx.Graph()
    network.add_nodes_from(v["id"] for v in graph["vertices"])
    network.add_edges_from((a, b) for a, b, *_ in graph["edges"])
    parts = sorted(networkx.connected_components(network), key=lambda part: (-len(part), min(part)))
    width = 2.2 * max(1, len(network)) ** 0.5
    places = {}
    x = y = height = 0.0
    for part in parts:
        radius = 0.75 * len(part) ** 0.5 if len(part) > 1 else 0.4
        if x and x + 2 * radius > width:
            y = y - height - 0.35
            x = height = 0.0
        inner = (
            networkx.spring_layout(network.subgraph(sorted(part)), seed=0, iterations=200)
            if len(part) > 1
            else None
        )
        for vertex in sorted(part):
            dx, dy = inner[vertex] if inner else (0.0, 0.0)
            places[vertex] = (
                round(x + radius * (1 + float(dx)), 4),
                round(y - radius * (1 + float(dy)), 4),
            )
        x = x + 2 * radius + 0.35
        height = max(height, 2 * radius)
    return places
