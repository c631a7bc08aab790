"""Experts: groups of nodes that respond alike, what each is for, and whether that is noise."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import networkx
import torch
from torch import Tensor

from birdbone.algo.experts import members_of
from birdbone.algo.mapper import mapper_graph
from birdbone.algo.persistence import Homology, homology
from birdbone.algo.topology import ClusterResult, cluster_layer, cluster_model, stability
from birdbone.errors import ArtifactError, NumericalError
from birdbone.model.device import read_tokenizer
from birdbone.model.observing.activations import Experts
from birdbone.pipelines.experts.describe import Domains, described
from birdbone.pipelines.experts.settings import ExpertSettings
from birdbone.pipelines.topology.settings import TopologySettings
from birdbone.progress import track
from birdbone.scan.domains import DomainProfile
from birdbone.text.texts import LabelledTexts

SHOWN_BARS = 100
"""Of a diagram's H1 bars, the longest are kept in the report."""
MEASURES = ("activity", "sensitivity", "fisher")


def find_experts(
    domain_profile: DomainProfile,
    domain_texts: LabelledTexts,
    tokenizer_folder: Path,
    topology: TopologySettings,
    settings: ExpertSettings,
    random_seed: int,
) -> tuple[Experts, dict]:
    """Experts and their report.

    The report holds each expert's and each Mapper vertex's description, the persistence of every
    layer and of all together beside its baselines, and the clusters' stability. Raises
    ArtifactError where profile and texts do not belong together, NumericalError naming a layer with
    NaN.
    """
    domains = read_domains(domain_profile, domain_texts)
    tokenizer = read_tokenizer(tokenizer_folder)
    labels, clusters = _clustered(domains.profiles, topology, settings.clusters, random_seed)
    places = _experts(labels, clusters, settings.clusters)
    experts = described(
        domains, tokenizer, [members_of(labels, *place) for place in places], settings, random_seed
    )
    names = [str(label) if layer is None else f"{layer}.{label}" for layer, label in places]
    graph = mapper_graph(
        {f"ffn.{i}": p for i, p in domains.profiles.items()},
        resolution=topology.resolution,
        gain=topology.gain,
        sample=topology.landmarks,
        random_seed=random_seed,
    )
    report = {
        "labels": domains.labels,
        "model": domain_profile.model,
        "clusters": settings.clusters,
        "measure": settings.measure,
        "sampled_tokens": len(domains.sampled["domain"]),
        "stability": clusters["stability"],
        "sizes": clusters["sizes"],
        "persistence": _persistence(domains.profiles, settings, random_seed),
        "experts": [{"id": name, **about} for name, about in zip(names, experts, strict=True)],
        "graph": _graph(graph, domains, tokenizer, settings, random_seed),
    }
    return Experts(labels, settings.clusters, domain_profile.model, domains.labels), report


def read_domains(domain_profile: DomainProfile, domain_texts: LabelledTexts) -> Domains:
    """Profile and texts together. float16 overflow becomes the largest float16.

    A node responds by |h|: nodes that fire at the same tokens do the same work, whatever the sign.
    """
    labels = domain_profile.labels
    if labels != domain_texts.labels:
        raise ArtifactError(
            f"domain_profile has the domains {labels}, domain_texts {domain_texts.labels}: run "
            "pipeline domains again"
        )
    neurons = domain_profile.layers["ffn"]
    for layer, responses in enumerate(neurons):
        for name in ("profile", *MEASURES):
            if getattr(responses, name).isnan().any():
                raise NumericalError(
                    f"domain_profile: ffn.{layer}.{name} holds NaN: look at the model's weights"
                )
    limit = torch.finfo(torch.float16).max
    return Domains(
        labels=labels,
        profiles={i: r.profile.abs().clamp(max=limit) for i, r in enumerate(neurons)},
        measures={name: {i: getattr(r, name) for i, r in enumerate(neurons)} for name in MEASURES},
        sampled=domain_profile.sampled,
        windows=domain_texts.scan,
    )


def _clustered(
    profiles: dict[int, Tensor], topology: TopologySettings, scope: str, random_seed: int
) -> tuple[dict, dict]:
    """Labels per layer, and sizes, silent labels and stability of each clustered set."""
    choices = topology.clustering | {"random_seed": random_seed}
    resamples = topology.stability_resamples
    labels: dict[int, Tensor] = {}
    results: dict[str, tuple[ClusterResult, list[float]]] = {}
    if scope == "model":
        by_layer, whole = cluster_model({str(i): p for i, p in profiles.items()}, **choices)
        labels = {int(i): x for i, x in by_layer.items()}
        again = stability(
            torch.cat(list(profiles.values())), whole.labels, resamples=resamples, **choices
        )
        results["all"] = whole, again
    else:
        for layer, profile in track(profiles.items(), "clusters", unit="layer"):
            result = cluster_layer(profile, **choices)
            labels[layer] = result.labels
            results[str(layer)] = (
                result,
                stability(profile, result.labels, resamples=resamples, **choices),
            )
    return labels, {
        "sizes": {where: result.sizes for where, (result, _) in results.items()},
        "silent": {where: result.silent for where, (result, _) in results.items()},
        "stability": {
            where: round(fmean(again), 4) if again else None
            for where, (_, again) in results.items()
        },
    }


def _experts(labels: dict[int, Tensor], clusters: dict, scope: str) -> list[tuple[int | None, int]]:
    """(layer or None, label) of every cluster whose nodes respond at all."""
    places = {"all": None} if scope == "model" else {str(layer): layer for layer in labels}
    return [
        (place, label)
        for name, place in places.items()
        for label in range(len(clusters["sizes"][name]))
        if label != clusters["silent"][name]
    ]


def _persistence(
    profiles: dict[int, Tensor], settings: ExpertSettings, random_seed: int
) -> list[dict]:
    sets = {**{str(i): p for i, p in profiles.items()}, "all": torch.cat(list(profiles.values()))}
    rows = []
    for where, profile in track(sets.items(), "persistence", unit="layer"):
        result = homology(
            profile,
            landmarks=settings.homology_landmarks,
            permutations=settings.permutations,
            random_seed=random_seed,
        )
        rows.append({"where": where, **_homology_report(result)})
    return rows


def _homology_report(result: Homology) -> dict:
    return {
        "landmarks": result.landmarks,
        "diagrams": _bars(result.diagrams),
        "baseline": _bars(result.baseline),
        "tests": {name: _rounded(figures) for name, figures in result.tests.items()},
    }


def _bars(diagrams: dict[int, Tensor]) -> dict[str, list[list[float]]]:
    """Dimension -> [birth, death], longest first."""
    rows = {}
    for dimension, bars in diagrams.items():
        longest = bars[(bars[:, 0] - bars[:, 1]).argsort(stable=True)]
        rows[f"h{dimension}"] = [
            [round(x, 4) for x in bar]
            for bar in longest[: SHOWN_BARS if dimension else None].tolist()
        ]
    return rows


def _rounded(figures: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if x is None else float(f"{x:.5g}") for name, x in figures.items()}


def _graph(
    graph: networkx.Graph, domains: Domains, tokenizer, settings: ExpertSettings, random_seed: int
) -> dict:
    """Described vertices, and edges as [vertex, vertex, members in common, similarity]."""
    sets = []
    for _, data in graph.nodes(data=True):
        members: dict[int, list[int]] = {}
        for name, node in data["members"]:
            members.setdefault(int(name.split(".")[1]), []).append(node)
        sets.append({layer: torch.tensor(nodes) for layer, nodes in members.items()})
    about = described(domains, tokenizer, sets, settings, random_seed)
    vertices = [
        {"id": int(vertex), "coherence": data["coherence"], **one}
        for (vertex, data), one in zip(graph.nodes(data=True), about, strict=True)
    ]
    edges = [[int(a), int(b), d["shared"], d["similarity"]] for a, b, d in graph.edges(data=True)]
    return {"vertices": vertices, "edges": edges}
