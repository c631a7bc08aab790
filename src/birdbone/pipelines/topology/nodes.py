"""Stage 4: which nodes respond alike. Clusters per layer, and a graph of experts over the model."""

from __future__ import annotations

from statistics import fmean

import networkx
import torch
from torch import Tensor

from birdbone.algo.mapper import graph_dict, graph_ml, mapper_graph
from birdbone.algo.topology import ClusterResult, cluster_layer, cluster_model, stability
from birdbone.errors import NumericalError
from birdbone.model.observing.activations import Activations, Clusters
from birdbone.pipelines.topology.settings import TopologySettings
from birdbone.progress import track


def cluster(
    activations: Activations, settings: TopologySettings, scope: str, random_seed: int
) -> tuple[Clusters, dict, str]:
    """(clusters, report, GraphML) from the neurons' profiles. Key-value groups are too few.

    scope: the parameter ``prune_wave.clusters``; with ``model`` there are clusters across layers
    too. The report has per layer the sizes, the persistence diagram that chose their number and the
    stability of the partition. It has figures of the Mapper graph, and the graph as JSON. Raises
    NumericalError naming a layer whose profiles hold NaN.
    """
    profiles = _clamped(activations.profiles("ffn"))
    choices = settings.clustering | {"random_seed": random_seed}
    resamples = settings.stability_resamples
    labels = []
    rows = []
    for profile in track(profiles.values(), "topology", unit="layer"):
        result = cluster_layer(profile, **choices)
        again = stability(profile, result.labels, resamples=resamples, **choices)
        rows.append({"layer": len(labels), **_layer_report(result, again)})
        labels.append(result.labels)
    graph = mapper_graph(
        profiles,
        resolution=settings.resolution,
        gain=settings.gain,
        sample=settings.landmarks,
        random_seed=random_seed,
    )
    report = {
        "clusters": sum(row["clusters"] for row in rows),
        "layers": rows,
        "mapper": _graph_report(graph),
        "graph": graph_dict(graph),
    }
    across = None
    if scope == "model":
        by_layer, whole = cluster_model(profiles, **choices)
        across = [by_layer[name] for name in profiles]
        every = torch.cat(list(profiles.values()))
        again = stability(every, whole.labels, resamples=resamples, **choices)
        report["across_layers"] = _layer_report(whole, again)
    return Clusters(labels, across, [row["clusters"] for row in rows]), report, graph_ml(graph)


def _clamped(profiles: list[Tensor]) -> dict[str, Tensor]:
    """``ffn.<layer>``, the graph's name -> profile; float16 overflow becomes the largest."""
    for layer, profile in enumerate(profiles):
        if profile.isnan().any():
            raise NumericalError(f"ffn.{layer}.profile holds NaN: look at the model's weights")
    limit = torch.finfo(torch.float16).max
    return {f"ffn.{layer}": profile.clamp(-limit, limit) for layer, profile in enumerate(profiles)}


def _layer_report(result: ClusterResult, again: list[float]) -> dict:
    """``diagram`` holds [birth, death] points; a death of None never happens."""
    points = [[birth, death] for birth, death in result.diagram.tolist()]
    points += [[birth, None] for birth in result.essential.tolist()]
    return {
        "clusters": len(result.sizes),
        "sizes": result.sizes,
        "silent": 0 if result.silent is None else result.sizes[result.silent],
        "landmarks": result.landmarks,
        "threshold": round(result.threshold, 4),
        "diagram": [[p if p is None else round(p, 4) for p in point] for point in points],
        "stability": round(fmean(again), 4) if again else None,
        "stability_resamples": [round(score, 4) for score in again],
    }


def _graph_report(graph: networkx.Graph) -> dict:
    experts = [data for _, data in graph.nodes(data=True)]
    return {
        "experts": len(experts),
        "circuits": graph.number_of_edges(),
        "components": networkx.number_connected_components(graph),
        "nodes": len({tuple(member) for expert in experts for member in expert["members"]}),
        "largest": max((expert["size"] for expert in experts), default=0),
        "across_layers": sum(len(expert["layers"]) > 1 for expert in experts),
    }
