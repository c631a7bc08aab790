"""experts.html: complete, self-contained, safe with hostile tokens and names, the same every
time.
"""

import json
import re

import pytest
from html_pages import Page

from birdbone.report.experts_charts import graph_chart
from birdbone.report.experts_page import experts_page

HOSTILE = '</script><img src=x onerror="alert(1)">&amp;\u2028'
FIGURE = [0.02, 0.01, 0.03]


def about(number: int, labels: list[str], names: list[str], token: str) -> dict:
    by_label = {name: 1.5 - place for place, name in enumerate(names)}
    return {
        "size": 40 + number,
        "layers": {"0": 30, "1": 10 + number},
        "enrichment": {"fisher": by_label, "activity": by_label},
        "selectivity": by_label,
        "threshold": dict.fromkeys(names, 0.5),
        "excess": 1.0 - number,
        "labels": labels,
        "tokens": [
            {"label": names[0], "before": "a ", "token": token, "after": " b", "strength": 3.2}
        ],
        "nodes": [[0, 3], [1, 7]],
    }


def report(names=("code", "talk"), token="def") -> dict:
    names = list(names)
    bars = {"h0": [[0.0, 0.5], [0.0, 0.3]], "h1": [[0.4, 0.7]]}
    tests = {
        name: {"observed": 1.0, "mean": 0.5, "std": 0.1, "effect": 5.0, "p": 0.05}
        for name in ("h0_total", "h1_longest", "h1_total")
    }
    wheres = {
        "0": tests,
        "1": {**tests, "h1_total": {**tests["h1_total"], "effect": None, "p": 0.6}},
        "all": tests,
    }
    return {
        "labels": names,
        "model": "f" * 64,
        "clusters": "layer",
        "measure": "fisher",
        "sampled_tokens": 512,
        "stability": {"0": 0.25, "1": None},
        "sizes": {"0": [50, 40]},
        "persistence": [
            {"where": where, "landmarks": 3, "diagrams": bars, "baseline": bars, "tests": found}
            for where, found in wheres.items()
        ],
        "experts": [
            {"id": "0.0", **about(0, names[:1], names, token)},
            {"id": "0.1", **about(1, [], names, token)},
        ],
        "graph": {
            "vertices": [
                {"id": 0, "coherence": 0.5, **about(2, names[:1], names, token)},
                {"id": 1, "coherence": 0.4, **about(3, [], names, token)},
                {"id": 4, "coherence": 0.4, **about(4, names[1:], names, token)},
            ],
            "edges": [[0, 1, 3, 0.8]],
        },
    }


def ablation(names=("code", "talk"), judgement="holds") -> dict:
    row = {
        "change": FIGURE,
        "effect": FIGURE,
        "others": [-0.001, -0.002, 0.001],
        "selectivity": FIGURE,
        "domains": dict.fromkeys(names, 0.01),
        "above_random": 0.8,
        "judgement": judgement,
    }
    return {
        "tokens": dict.fromkeys(names, 1016),
        "windows": dict.fromkeys(names, 8),
        "random_sets": 5,
        "labelled": 1,
        "loss": dict.fromkeys(names, 3.0),
        "experts": [{"id": "0.0", "labels": [names[0]], "size": 40, "layers": {"0": 40}, **row}],
        "mean": row,
        "verdict": judgement,
    }


@pytest.fixture(scope="module")
def html():
    return experts_page(report(), ablation())


def embedded(html: str, element: str) -> dict:
    return json.loads(re.search(rf'id="{element}">(.*?)</script>', html, re.DOTALL).group(1))


def test_it_fetches_nothing(html):
    assert all(target.startswith("#") for target in Page(html).fetched)
    assert not re.search(r"url\(|@import|https?://", html, re.IGNORECASE)
    assert len(html) < 4_000_000


def test_equal_reports_give_the_same_bytes(html):
    assert experts_page(report(), ablation()) == html


def test_every_vertex_and_expert_has_its_panel(html):
    sets = embedded(html, "sets")["sets"]
    assert set(sets) == {"v0", "v1", "v4", "e0.0", "e0.1"}
    assert sets["v4"]["tokens"][0]["token"] == "def" and sets["e0.1"]["nodes"] == [[0, 3], [1, 7]]
    assert set(re.findall(r'data-set="([^"]+)"', html)) == {"e0.0", "e0.1"}


def test_the_graph_calls_vertices_as_the_panel_does(html):
    figure = graph_chart(report()["graph"], ["code", "talk"])
    called = [
        name for trace in figure.data if trace.customdata is not None for name in trace.customdata
    ]
    assert sorted(called) == ["v0", "v1", "v4"] and set(called) <= set(
        embedded(html, "sets")["sets"]
    )
    assert len([x for x in figure.data[0].x if x is not None]) == 2


def test_hostile_tokens_and_names_stay_text(html):
    names = (HOSTILE, "talk")
    hostile = experts_page(report(names, HOSTILE), ablation(names))
    plain, found = Page(html), Page(hostile)
    assert "img" not in found.tags and "onerror" not in str(found.fetched)
    assert found.tags.count("script") == plain.tags.count("script") == hostile.count("</script>")
    assert HOSTILE in found.text
    assert embedded(hostile, "sets")["sets"]["v0"]["tokens"][0]["token"] == HOSTILE
    assert "innerHTML" not in hostile.replace(hostile[hostile.index('id="plotly-gzip"') :], "")


@pytest.mark.parametrize("verdict", ["holds", "does not hold"])
def test_the_verdict_is_the_ablations(verdict):
    assert (
        verdict in Page(experts_page(report(), ablation(judgement=verdict))).text.split("Graph")[0]
    )


def test_nothing_to_test_is_said():
    nothing = {**ablation(), "experts": [], "verdict": "nothing to test", "labelled": 0}
    del nothing["mean"], nothing["loss"]
    text = Page(experts_page(report(), nothing)).text
    assert "nothing to test" in text and "No expert has a label" in text


def test_a_model_without_groups_has_a_page_too():
    empty = {**report(), "graph": {"vertices": [], "edges": []}}
    assert "No group of nodes fires together" in Page(experts_page(empty, ablation())).text
