"""The page of the experts: graph, panel, persistence, ablation, table; one offline file."""

from __future__ import annotations

import json

from markupsafe import Markup

from birdbone.report import experts_charts
from birdbone.report.chart_style import domain_colours
from birdbone.report.embed import rendered


def experts_page(report: dict, ablation: dict) -> str:
    """The page as HTML; equal reports give equal text.

    Tokens may contain markup. It stays text: escaped here, and set as text in the panel.
    """
    colours = domain_colours(report["labels"])
    plots = {"persistence": experts_charts.diagram_chart(report["persistence"])}
    plots |= {
        f"test-{name}": experts_charts.test_chart(report["persistence"], name)
        for name in experts_charts.TESTS
    }
    if report["graph"]["vertices"]:
        plots["graph"] = experts_charts.graph_chart(report["graph"], report["labels"])
    if ablation["experts"]:
        plots["ablation"] = experts_charts.ablation_chart(ablation["experts"])
    tested = {row["id"]: row for row in ablation["experts"]}
    rows = sorted(report["experts"], key=lambda e: (-e["excess"], e["id"]))
    return rendered(
        "birdbone.report/experts.html",
        plots,
        r=report,
        a=ablation,
        rows=rows,
        tested=tested,
        colours=colours,
        significant={
            name: experts_charts.significant(report["persistence"], name)
            for name in experts_charts.TESTS
        },
        whole=next(p for p in report["persistence"] if p["where"] == "all"),
        panels=_json(_panels(report)),
        tests=experts_charts.TESTS,
    )


def _panels(report: dict) -> dict:
    """What the side panel shows of each vertex and each expert, keyed as the page calls them."""
    sets = {f"v{v['id']}": {"title": f"vertex {v['id']}", **v} for v in report["graph"]["vertices"]}
    for e in report["experts"]:
        sets[f"e{e['id']}"] = {"title": f"expert {e['id']}", **e}
    return {"labels": report["labels"], "measure": report["measure"], "sets": sets}


def _json(value: dict) -> Markup:
    """JSON for a script element: no text in it can close the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(
        text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )
