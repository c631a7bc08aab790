"""Stage 4: which nodes respond alike. Clusters per layer, and a graph of experts over the model."""

from __future__ import annotations

from statistics import fmean

import networkx
import torch
from torch import Tensor

from birdbone.algo.mapper import graph_dict, graph_ml, mapper_graph
from birdbone.algo.topology import ClusterResult, cluster_layer, cluster_model, stability
from birdbone.errors import NumericalError
from birdbone.progress import track


def cluster(
    activations: tuple[dict[str, Tensor], dict], settings: dict, scope: str, random_seed: int
) -> tuple[tuple[dict[str, Tensor], dict], dict, str]:
    """Clusters, report and Mapper graph from ``ffn.<layer>.profile`` [neurons, sampled tokens].

    clusters: ``ffn.<layer>`` int32 labels, 0 the largest. Key-value groups are too few to cluster. With
    ``scope`` "model" (parameter ``prune_wave.clusters``) also ``model.<layer>``, clusters across layers:
    the same label is the same cluster in every layer.
    report: per layer the sizes, the persistence diagram that chose their number and the stability
    of the partition; figures of the Mapper graph, and the graph itself as JSON. graph: GraphML.
    Raises NumericalError naming a layer whose profiles hold NaN.
    """
    profiles = _ffn_profiles(activations[0])
    found, layers = {}, []
    per_layer = {key: settings[key] for key in ("neighbours", "landmarks", "min_cluster")}
    for name, profile in track(profiles.items(), "topology", unit="layer"):
        result = cluster_layer(profile, **per_layer, random_seed=random_seed)
        again = stability(
            profile, result.labels, resamples=settings["stability_resamples"], **per_layer, random_seed=random_seed
        )
        found[name] = result.labels
        layers.append({"layer": int(name.split(".")[1]), **_layer_report(result, again)})
    graph = mapper_graph(
        profiles,
        resolution=settings["resolution"],
        gain=settings["gain"],
        sample=settings["landmarks"],
        random_seed=random_seed,
    )
    report = {
        "clusters": sum(layer["clusters"] for layer in layers),
        "layers": layers,
        "mapper": _graph_report(graph),
        "graph": graph_dict(graph),
    }
    if scope == "model":
        across, whole = cluster_model(profiles, **per_layer, random_seed=random_seed)
        found |= {name.replace("ffn.", "model."): labels for name, labels in across.items()}
        again = stability(
            torch.cat(list(profiles.values())),
            whole.labels,
            resamples=settings["stability_resamples"],
            **per_layer,
            random_seed=random_seed,
        )
        report["across_layers"] = _layer_report(whole, again)
    return (found, {"clusters": [layer["clusters"] for layer in layers]}), report, graph_ml(graph)


def _ffn_profiles(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``ffn.<layer>`` -> profile, in layer order; float16 overflow becomes the largest float16."""
    names = [n.removesuffix(".profile") for n in tensors if n.startswith("ffn.") and n.endswith(".profile")]
    profiles = {n: tensors[f"{n}.profile"] for n in sorted(names, key=lambda n: int(n.split(".")[1]))}
    for name, profile in profiles.items():
        if profile.isnan().any():
            raise NumericalError(f"{name}.profile holds NaN: look at the model's weights")
    limit = torch.finfo(torch.float16).max
    return {name: profile.clamp(-limit, limit) for name, profile in profiles.items()}


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
