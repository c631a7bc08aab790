"""The topology stage: labels for every neuron, a report a page can draw, and a graph."""

import json

import networkx
import pytest
import torch
from base_parameters import base_parameters
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from birdbone.errors import NumericalError
from birdbone.model.observing.activations import Activations, Activity
from birdbone.pipelines.topology.nodes import cluster
from birdbone.pipelines.topology.pipeline import create_pipeline
from birdbone.pipelines.topology.settings import TopologySettings

SETTINGS = TopologySettings(neighbours=8, landmarks=100, min_cluster=8, resolution=3, gain=0.3, stability_resamples=2)


@pytest.fixture
def activations():
    """Two layers of 60 neurons in two groups, three of them silent in layer 1."""
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(2, 120, generator=generator)

    def profile():
        rows = signals.repeat_interleave(30, 0) + 0.4 * torch.randn(60, 120, generator=generator)
        return rows.half()

    second, first = profile(), profile()
    second[:3] = 0
    return of([first, second])


def of(profiles):
    neurons = [Activity(*torch.rand(3, 60), profile) for profile in profiles]
    return Activations({"ffn": neurons}, tokens=120, sampled_tokens=120)


def test_every_neuron_gets_a_label_and_groups_get_none(activations):
    clusters, _, _ = cluster(activations, SETTINGS, "layer", 0)
    first, second = clusters.layers
    assert first.dtype == second.dtype == torch.int32 and first.shape == second.shape == (60,)
    assert first[:30].unique().numel() == 1 == first[30:].unique().numel()
    assert clusters.counts == [2, 3] and clusters.across is None


def test_the_report_is_json_and_adds_up(activations):
    clusters, report, _ = cluster(activations, SETTINGS, "layer", 0)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [layer["layer"] for layer in report["layers"]] == [0, 1]
    for layer in report["layers"]:
        assert layer["sizes"] == clusters.layers[layer["layer"]].bincount().tolist()
        assert layer["clusters"] == len(layer["sizes"])
        assert layer["stability"] > 0.9 and len(layer["stability_resamples"]) == 2
        assert any(death is None for _, death in layer["diagram"])
    assert [layer["silent"] for layer in report["layers"]] == [0, 3]
    assert report["mapper"]["experts"] > 0 and report["mapper"]["across_layers"] > 0


def test_the_graph_is_graphml_and_the_same_as_the_reports(activations):
    _, report, text = cluster(activations, SETTINGS, "layer", 0)
    graph = networkx.parse_graphml(text)
    assert len(graph) == report["mapper"]["experts"] == len(report["graph"]["nodes"])
    assert graph.number_of_edges() == report["mapper"]["circuits"] == len(report["graph"]["edges"])


def test_no_resamples_means_no_stability(activations):
    _, report, _ = cluster(activations, SETTINGS.model_copy(update={"stability_resamples": 0}), "layer", 0)
    assert report["layers"][0]["stability"] is None


def test_float16_overflow_is_survived_and_nan_is_not(activations):
    first, second = activations.profiles("ffn")
    second[5, 7] = float("inf")
    _, report, _ = cluster(activations, SETTINGS, "layer", 0)
    assert json.dumps(report, allow_nan=False)
    second[5, 7] = float("nan")
    with pytest.raises(NumericalError, match=r"ffn\.1\.profile"):
        cluster(activations, SETTINGS, "layer", 0)


def test_clusters_across_layers_are_added_and_leave_the_others_as_they_were(activations):
    """Both layers follow the same two signals, so that a cluster across layers has nodes of both."""
    alone, _, _ = cluster(activations, SETTINGS, "layer", 0)
    both, report, _ = cluster(activations, SETTINGS, "model", 0)
    assert all(map(torch.equal, both.layers, alone.layers))
    first, second = both.across
    assert first[0] != first[-1]
    assert first[0] == second[10] and first[-1] == second[-1]
    assert report["across_layers"]["sizes"] == torch.cat(both.across).bincount().tolist()
    assert report["across_layers"]["stability"] > 0.9


def test_the_stage_runs_in_kedro_twice_with_the_same_result(activations):
    results = []
    for _ in range(2):
        given = {
            "activations": activations,
            "params:topology": SETTINGS,
            "params:prune_wave.clusters": "layer",
            "params:random_seed": 3,
        }
        catalog = DataCatalog({name: MemoryDataset(value) for name, value in given.items()})
        outputs = SequentialRunner().run(create_pipeline(base_parameters()), catalog)
        results.append({name: dataset.load() for name, dataset in outputs.items()})
    first, second = results
    assert set(first) == {"clusters", "topology_report", "mapper_graph"}
    assert first["topology_report"] == second["topology_report"]
    assert first["mapper_graph"] == second["mapper_graph"]
    assert all(map(torch.equal, first["clusters"].layers, second["clusters"].layers))
