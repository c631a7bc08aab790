"""The mixture's card and its verdicts in words."""

from __future__ import annotations

import pytest
import yaml

from birdbone.mixture.page import card, sentences


def test_no_licence_or_name_breaks_the_cards_front_matter() -> None:
    shape = {"shared": 64, "experts": 4, "width": 32, "grouping": "topology", "active": 2}
    about = {"name": "my-model[v2] é", "licence": "other: [see] #1", "digest": "5eed"}
    _, header, body = card(shape, about, "kedro run --env=base").split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "other: [see] #1"
    assert "# my-model\\[v2\\] é as a mixture" in body


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ([-0.2, -0.3, -0.1], [-0.1, -0.2, -0.01]),
            "Topology grouping beats random grouping (perplexity",
        ),
        (
            ([-0.2, -0.3, -0.1], [-0.1, -0.2, 0.01]),
            "beats random grouping with 25\u202f% of the experts on, and not",
        ),
        (
            ([0.0, -0.3, 0.1], [-0.1, -0.2, 0.01]),
            "Topology grouping does not beat random grouping (perplexity",
        ),
        (([0.2, 0.1, 0.3], [0.1, 0.05, 0.2]), "does not beat random grouping: it is worse"),
    ],
)
def test_the_verdict_on_topology_follows_from_the_intervals(changes: tuple, said: str) -> None:
    rows = [
        {"against": "random", "active": 2 * i, "share": 0.25 * i, "change": change}
        for i, change in enumerate(changes, start=1)
    ]
    shape = {"active": 2, "experts": 8, "grouping": "topology"}
    found = sentences(
        {"comparisons": rows, "rows": [], "shape": shape, "healing": {"steps": 0, "kl": None}}
    )
    assert said in found[0]


@pytest.mark.parametrize(
    ("after", "said"), [(0.4, "perplexity 50.00 before, 40.00 after"), (0.6, "not kept")]
)
def test_routers_that_healing_made_worse_are_said_not_to_be_kept(after: float, said: str) -> None:
    rows = [
        {
            "grouping": "topology",
            "healed": healed,
            "active": 2,
            "share": 0.25,
            "perplexity": perplexity,
        }
        for healed, perplexity in ((False, 50.0), (True, 40.0))
    ]
    shape = {"active": 2, "experts": 8, "grouping": "topology"}
    healing = {"steps": 3, "kl": [0.5, after], "kept": after < 0.5}
    (found, _) = sentences({"comparisons": [], "rows": rows, "shape": shape, "healing": healing})
    assert found.startswith("3 steps of healing the routers, with 2 of 8 on") and said in found
