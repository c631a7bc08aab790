"""Figures of the experts' page."""

import pytest

from birdbone.report.experts_charts import significant

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


def test_significant_layers_are_counted_beside_what_chance_gives():
    rows = report()["persistence"]
    assert significant(rows, "h1_total") == {"count": 1, "of": 2, "chance": pytest.approx(0.1)}
