"""The Mapper graph of a model's nodes: vertices are candidate experts, edges functional circuits.

Singh, Mémoli, Carlsson, "Topological methods for the analysis of high dimensional data sets", 2007.
"""

from __future__ import annotations

import json
from typing import Any

import networkx
import numpy as np
import torch
from networkx.readwrite import json_graph
from torch import Tensor

from birdbone.algo.topology import standardised


def mapper_graph(
    profiles: dict[str, Tensor],
    *,
    resolution: int = 8,
    gain: float = 0.3,
    sample: int = 2048,
    min_members: int = 4,
    random_seed: int = 0,
) -> networkx.Graph:
    """Mapper on nodes drawn from all layers, each with its profile over the *same* tokens.

    profiles: layer name -> [nodes, tokens]. At most ``sample`` nodes that vary are drawn, spread
    over the layers as these are wide. Lens: their first two principal components, as ranks, so
    that each of the ``resolution`` intervals per axis, overlapping by ``gain`` (below 0.5), holds
    about as many nodes. In each patch average-linkage clustering on 1 − Spearman correlation,
    cut where two groups correlate no more than chance would (two standard errors, 2/√tokens).

    A vertex has ``size``, ``layers`` (layer -> members), ``members`` ([layer, node] pairs),
    ``mean_activity`` (mean |profile| over members and tokens) and ``coherence`` (mean correlation
    of a member with the vertex's mean). An edge has ``shared``, the number of members in common,
    and ``similarity``, the correlation of the two mean profiles. Vertices under ``min_members``
    are left out. The same seed gives the same graph. Raises ValueError on profiles that are not
    finite or differ in their tokens.
    """
    if len({p.shape[1] for p in profiles.values()}) > 1:
        raise ValueError("Mapper needs one set of tokens for all layers")
    if not all(torch.isfinite(p).all() for p in profiles.values()):
        raise ValueError("profiles must be finite")
    members, drawn = _draw(profiles, sample, random_seed)
    if len(members) < 2:
        return networkx.Graph()
    points = standardised(drawn)
    distance = (1 - points @ points.T).clamp(min=0).double().numpy()
    np.fill_diagonal(distance, 0.0)
    tokens = points.shape[1]
    from gudhi.cover_complex import MapperComplex
    from sklearn.cluster import AgglomerativeClustering

    complex_ = MapperComplex(
        input_type="distance matrix",
        resolutions=[resolution, resolution],
        gains=[gain, gain],
        min_points_per_node=min_members,
        clustering=AgglomerativeClustering(
            n_clusters=None,
            metric="precomputed",
            linkage="average",
            distance_threshold=max(0.0, 1 - 2 / tokens**0.5),
        ),
    ).fit(distance, filters=_lens(points), colors=drawn.float().abs().mean(1).double().numpy())
    return _described(complex_, members, points)


def graph_dict(graph: networkx.Graph) -> dict:
    """The graph as JSON-able node-link data."""
    return json_graph.node_link_data(graph, edges="edges")


def graph_ml(graph: networkx.Graph) -> str:
    """The graph as GraphML text; ``layers`` and ``members``, which GraphML cannot hold, as JSON."""
    flat = networkx.Graph()
    for vertex, data in graph.nodes(data=True):
        flat.add_node(
            vertex,
            **{
                **data,
                "layers": json.dumps(data["layers"]),
                "members": json.dumps(data["members"]),
            },
        )
    flat.add_edges_from(graph.edges(data=True))
    return "\n".join(networkx.generate_graphml(flat)) + "\n"


def _draw(profiles: dict[str, Tensor], sample: int, random_seed: int) -> tuple[list[tuple[str, int]], Tensor]:
    """Nodes that vary, at most ``sample``, as (layer, node) and their profiles, in model order."""
    generator = torch.Generator().manual_seed(random_seed)
    varying = {name: (p.amax(1) != p.amin(1)).nonzero()[:, 0] for name, p in profiles.items()}
    share = min(1.0, sample / max(1, sum(len(v) for v in varying.values())))
    members = []
    rows = []
    for name, nodes in varying.items():
        count = int(len(nodes) * share)
        order = torch.randperm(len(nodes), generator=generator)[:count].sort().values
        members += [(name, int(node)) for node in nodes[order]]
        rows.append(profiles[name][nodes[order]])
    return members, torch.cat(rows) if rows else torch.zeros(0, 0)


def _lens(points: Tensor) -> np.ndarray:
    """Ranks along the first two principal components, [nodes, 2]; signs fixed, ties by position."""
    centred = (points - points.mean(0)).double()
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes[:, -2:].flip(1)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    coordinates = centred @ (axes * largest.sign())
    return coordinates.argsort(dim=0, stable=True).argsort(dim=0).double().numpy()


def _described(complex_: Any, members: list[tuple[str, int]], points: Tensor) -> networkx.Graph:
    nerve = complex_.get_networkx()
    names = {old: new for new, old in enumerate(sorted(nerve.nodes))}
    graph = networkx.Graph()
    centres = {}
    inside = {}
    for old, new in names.items():
        info = complex_.node_info_[old]
        index = sorted(int(i) for i in info["indices"])
        centre = torch.nn.functional.normalize(points[index].mean(0), dim=0)
        layers: dict[str, int] = {}
        for i in index:
            layers[members[i][0]] = layers.get(members[i][0], 0) + 1
        centres[new] = centre
        inside[new] = set(index)
        graph.add_node(
            new,
            size=len(index),
            mean_activity=_rounded(info["colors"][0]),
            coherence=_rounded(points[index] @ centre),
            layers=layers,
            members=[list(members[i]) for i in index],
        )
    for a, b in sorted(sorted((names[u], names[v])) for u, v in nerve.edges):
        graph.add_edge(a, b, shared=len(inside[a] & inside[b]), similarity=_rounded(centres[a] @ centres[b]))
    return graph


def _rounded(value: Tensor | float) -> float:
    return float(f"{float(torch.as_tensor(value).double().mean()):.4g}")
