"""A set of nodes as the reports describe it: where it is, what it is for, what fires it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from birdbone.algo.experts import Nodes, firing, selectivity
from birdbone.pipelines.experts.settings import ExpertSettings

SHOWN_NODES = 16
BEFORE = 10
AFTER = 4
"""Tokens of context shown before and after one that fires a set."""


@dataclass(frozen=True)
class Domains:
    """What the pipeline ``domains`` measured.

    labels: names of the domains. profiles: layer -> [nodes, S]; measures: name -> layer -> [labels,
    nodes]; sampled: ``domain``, ``window``, ``position`` [S]; windows: label -> scanned tokens
    [windows, T].
    """

    labels: list[str]
    profiles: dict[int, Tensor]
    measures: dict[str, dict[int, Tensor]]
    sampled: dict[str, Tensor]
    windows: dict[str, Tensor]


def described(
    domains: Domains, tokenizer, sets: list[Nodes], settings: ExpertSettings, random_seed: int
) -> list[dict]:
    """Each set as JSON: ``size``, ``layers``, ``tokens`` that fire it most, ``nodes`` that matter
    most.

    Per label: ``enrichment`` of each measure, ``selectivity`` and its ``threshold``. ``excess``:
    the largest selectivity over its threshold. ``labels``: those over it, furthest first; none
    means general.
    """
    measure = settings.measure
    scored = {
        name: selectivity(domains.measures[name], sets, random_seed=random_seed)
        for name in dict.fromkeys((measure, "activity"))
    }
    rows = []
    for place, members in enumerate(sets):
        judged = scored[measure][place]
        excess = judged.selectivity - judged.threshold
        domain = int(excess.argmax())
        strength = firing(domains.profiles, members)
        rows.append(
            {
                "size": sum(len(nodes) for nodes in members.values()),
                "layers": {str(layer): len(nodes) for layer, nodes in members.items()},
                "enrichment": {
                    name: _by_label(domains, one[place].enrichment) for name, one in scored.items()
                },
                "selectivity": _by_label(domains, judged.selectivity),
                "threshold": _by_label(domains, judged.threshold),
                "excess": round(float(excess[domain]), 4),
                "labels": [domains.labels[d] for d in judged.labels],
                "tokens": _tokens(domains, tokenizer, strength, settings.shown_tokens),
                "nodes": _nodes(domains.measures[measure], members, domain),
            }
        )
    return rows


def _tokens(domains: Domains, tokenizer, strength: Tensor, count: int) -> list[dict]:
    rows = []
    for place in strength.argsort(descending=True, stable=True)[:count].tolist():
        label = domains.labels[int(domains.sampled["domain"][place])]
        at = int(domains.sampled["position"][place])
        ids = domains.windows[label][int(domains.sampled["window"][place])].tolist()
        rows.append(
            {
                "label": label,
                "before": tokenizer.decode(ids[max(0, at - BEFORE) : at]),
                "token": tokenizer.decode(ids[at : at + 1]),
                "after": tokenizer.decode(ids[at + 1 : at + 1 + AFTER]),
                "strength": round(float(strength[place]), 3),
            }
        )
    return rows


def _nodes(values: dict[int, Tensor], members: Nodes, domain: int) -> list[list[int]]:
    """[layer, node] of those with the largest value in a domain, largest first."""
    rows = [
        (-float(values[i][domain, n]), i, int(n)) for i, nodes in members.items() for n in nodes
    ]
    return [[layer, node] for _, layer, node in sorted(rows)[:SHOWN_NODES]]


def _by_label(domains: Domains, values: Tensor) -> dict[str, float]:
    return {label: round(float(v), 4) for label, v in zip(domains.labels, values, strict=True)}
