"""ToMATo finds planted clusters, picks their number, and survives odd layers."""

import time

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from birdbone.algo import topology
from birdbone.algo.topology import cluster_layer, stability, standardised

SETTINGS = {"neighbours": 10, "min_cluster": 8}


def planted(sizes, tokens=200, noise=0.6, seed=0):
    """Profiles of groups that share a heavy-tailed signal; and the group of each node, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    groups = groups[torch.randperm(len(groups), generator=generator)]
    signals = torch.randn(len(sizes), tokens, generator=generator) ** 3
    return signals[groups] + noise * torch.randn(len(groups), tokens, generator=generator), groups


def agreement(labels, groups):
    return adjusted_rand_score(labels.numpy(), groups.numpy())


def test_planted_clusters_are_found_and_their_number_with_them():
    profiles, groups = planted([60, 40, 30])
    found = cluster_layer(profiles, **SETTINGS)
    assert found.sizes == [60, 40, 30]
    assert agreement(found.labels, groups) == 1.0
    assert found.labels.dtype == torch.int32


def test_labels_run_from_the_largest_cluster_down():
    profiles, groups = planted([20, 70, 40])
    found = cluster_layer(profiles, **SETTINGS)
    assert found.labels[groups == 1].unique().tolist() == [0]
    assert found.labels[groups == 0].unique().tolist() == [2]


def test_pure_noise_is_one_cluster_or_nearly():
    noise = torch.randn(200, 200, generator=torch.Generator().manual_seed(3))
    assert len(cluster_layer(noise, **SETTINGS).sizes) <= 2


def test_the_diagram_shows_why():
    """Only peaks above the threshold and those that never die are clusters; births exceed
    deaths.
    """
    profiles, _ = planted([60, 40, 30], noise=2.0)
    found = cluster_layer(profiles, **{**SETTINGS, "min_cluster": 1})
    prominence = found.diagram[:, 0] - found.diagram[:, 1]
    assert (prominence >= 0).all() and found.threshold > 0
    assert int((prominence > found.threshold).sum()) + len(found.essential) == len(found.sizes)


def test_the_order_of_scale_and_outlier_tokens_do_not_matter():
    profiles, groups = planted([60, 40])
    profiles = profiles * torch.logspace(-3, 3, 100)[:, None]
    profiles[:, 0] *= 1e3
    assert agreement(cluster_layer(profiles, **SETTINGS).labels, groups) == 1.0


def test_silent_nodes_are_a_cluster_of_their_own():
    profiles, groups = planted([60, 40])
    profiles = torch.cat([torch.zeros(3, 200), profiles, torch.full((2, 200), 0.1)])
    found = cluster_layer(profiles, **SETTINGS)
    assert found.silent == 2 and found.sizes == [60, 40, 5]
    assert (found.labels == 2).nonzero()[:, 0].tolist() == [0, 1, 2, 103, 104]
    assert agreement(found.labels[3:-2], groups) == 1.0


@pytest.mark.parametrize(
    ("shape", "sizes"), [((5, 9), [5]), ((1, 9), [1]), ((4, 1), [4]), ((2, 9), [2])]
)
def test_tiny_layers_are_one_cluster(shape, sizes):
    profiles = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert cluster_layer(profiles, neighbours=10, min_cluster=8).sizes == sizes


def test_a_layer_where_nothing_fires_is_all_silent():
    found = cluster_layer(torch.zeros(6, 10))
    assert found.sizes == [6] and found.silent == 0 and len(found.diagram) == 0


def test_small_clusters_join_the_nearest_large_one():
    profiles, groups = planted([60, 40, 12])
    assert len(cluster_layer(profiles, neighbours=8, min_cluster=8).sizes) == 3
    joined = cluster_layer(profiles, neighbours=8, min_cluster=16)
    assert min(joined.sizes) >= 40 and sum(joined.sizes) == 112


def test_landmarks_stand_for_all_nodes(monkeypatch):
    monkeypatch.setattr(topology, "CHUNK", 64)
    profiles, groups = planted([300, 200, 100])
    found = cluster_layer(profiles, landmarks=150, **SETTINGS)
    assert found.landmarks == 150
    assert agreement(found.labels, groups) == 1.0


def test_chunks_change_nothing(monkeypatch):
    profiles, _ = planted([60, 40, 30], noise=2.0)
    whole = cluster_layer(profiles, **SETTINGS)
    monkeypatch.setattr(topology, "CHUNK", 17)
    assert torch.equal(cluster_layer(profiles, **SETTINGS).labels, whole.labels)


def test_the_same_seed_gives_the_same_clusters():
    profiles, _ = planted([60, 40, 30], noise=3.0)
    runs = [
        cluster_layer(profiles.half(), landmarks=90, random_seed=5, **SETTINGS) for _ in range(2)
    ]
    assert torch.equal(runs[0].labels, runs[1].labels)
    assert torch.equal(runs[0].diagram, runs[1].diagram) and runs[0].threshold == runs[1].threshold


def test_ties_share_their_rank():
    """A node that is mostly zero must not correlate with another through the order of its zeros."""
    profiles = torch.zeros(2, 100)
    profiles[0, 3], profiles[1, 90] = 1.0, 1.0
    points = standardised(profiles)
    assert float(points[0] @ points[1]) == pytest.approx(-1 / 99, abs=1e-4)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        cluster_layer(torch.tensor([[1.0, float("inf")]]))


def test_stability_is_high_for_structure_and_low_for_noise():
    profiles, _ = planted([60, 40, 30])
    labels = cluster_layer(profiles, **SETTINGS).labels
    assert min(stability(profiles, labels, resamples=3, **SETTINGS)) > 0.95
    noise = torch.randn(130, 200, generator=torch.Generator().manual_seed(1))
    assert max(stability(noise, labels, resamples=3, **SETTINGS)) < 0.2


def test_a_layer_of_the_default_model_takes_about_a_second():
    profiles, _ = planted([600, 500, 436], tokens=512, noise=3.0)
    start = time.process_time()
    cluster_layer(profiles.half())
    assert time.process_time() - start < 5
