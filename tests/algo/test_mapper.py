"""The Mapper graph: experts that span layers, circuits between them, twice the same."""

import json

import networkx
import pytest
import torch

from birdbone.algo.mapper import graph_dict, graph_ml, mapper_graph

SETTINGS = {"resolution": 3, "gain": 0.3, "min_members": 4}


def two_layers(tokens=200):
    """Both layers hold nodes of the same two functions; three nodes never fire."""
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(2, tokens, generator=generator)

    def layer(scale):
        rows = signals.repeat_interleave(40, 0) + 0.5 * torch.randn(80, tokens, generator=generator)
        return torch.cat([scale * rows, torch.zeros(3, tokens)]).half()

    return {"ffn.0": layer(1), "ffn.1": layer(5)}


def function_of(member):
    return member[1] // 40


def test_vertices_are_functions_across_layers():
    graph = mapper_graph(two_layers(), **SETTINGS)
    assert len(graph) >= 2
    for _, expert in graph.nodes(data=True):
        assert len({function_of(m) for m in expert["members"]}) == 1
        assert expert["size"] == len(expert["members"]) == sum(expert["layers"].values()) >= 4
    assert any(len(expert["layers"]) == 2 for _, expert in graph.nodes(data=True))


def test_mean_activity_and_coherence_are_those_of_the_members():
    profiles = two_layers()
    _, expert = next(iter(mapper_graph(profiles, **SETTINGS).nodes(data=True)))
    rows = torch.stack([profiles[layer][node] for layer, node in expert["members"]]).float()
    assert expert["mean_activity"] == pytest.approx(rows.abs().mean().item(), rel=2e-3)
    assert 0.5 < expert["coherence"] <= 1


def test_edges_join_vertices_that_share_members():
    graph = mapper_graph(two_layers(), **SETTINGS)
    inside = {v: {tuple(m) for m in data["members"]} for v, data in graph.nodes(data=True)}
    assert graph.number_of_edges() > 0
    for a, b, circuit in graph.edges(data=True):
        assert circuit["shared"] == len(inside[a] & inside[b]) > 0
        assert circuit["similarity"] > 0.5


def test_silent_nodes_are_in_no_expert():
    graph = mapper_graph(two_layers(), **SETTINGS)
    assert all(node < 80 for _, e in graph.nodes(data=True) for _, node in e["members"])


def test_noise_has_no_experts():
    noise = {"ffn.0": torch.randn(100, 200, generator=torch.Generator().manual_seed(0))}
    assert len(mapper_graph(noise, **SETTINGS)) <= 2


def test_at_most_the_asked_number_of_nodes_is_drawn():
    graph = mapper_graph(two_layers(), **{**SETTINGS, "min_members": 1, "resolution": 1}, sample=50)
    assert 0 < len({tuple(m) for _, e in graph.nodes(data=True) for m in e["members"]}) <= 50


def test_the_same_seed_gives_the_same_text_and_another_does_not():
    texts = [
        graph_ml(mapper_graph(two_layers(), sample=100, random_seed=s, **SETTINGS))
        for s in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_graphml_and_json_hold_the_same_graph():
    graph = mapper_graph(two_layers(), **SETTINGS)
    read = networkx.parse_graphml(graph_ml(graph), node_type=int)
    data = json.loads(json.dumps(graph_dict(graph)))
    assert {frozenset(e) for e in read.edges} == {frozenset(e) for e in graph.edges}
    assert [json.loads(read.nodes[v["id"]]["members"]) for v in data["nodes"]] == [
        v["members"] for v in data["nodes"]
    ]
    assert len(data["edges"]) == graph.number_of_edges()


def test_a_model_where_nothing_fires_has_an_empty_graph():
    assert len(mapper_graph({"ffn.0": torch.zeros(5, 10)})) == 0


def test_layers_must_share_their_tokens():
    with pytest.raises(ValueError, match="one set of tokens"):
        mapper_graph({"ffn.0": torch.rand(5, 10), "ffn.1": torch.rand(5, 11)})
