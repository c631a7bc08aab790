"""Experts from end to end on a tiny model: the planted expert is found, labelled, and silencing it
hurts its domain.
"""

import json
from dataclasses import replace

import pytest
import torch
from base_parameters import base_parameters
from planted_expert import (
    EXPERT,
    LABELS,
    LAYER,
    domain_profile,
    domain_texts,
    planted,
    tokenizer_folder,
)

from birdbone.errors import ArtifactError, ConfigError, NumericalError
from birdbone.pipelines.experts.ablate import ablate_experts, summary_line
from birdbone.pipelines.experts.find import find_experts
from birdbone.pipelines.experts.pipeline import create_pipeline
from birdbone.pipelines.experts.settings import ExpertSettings
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.topology.settings import TopologySettings

TOPOLOGY = TopologySettings(
    neighbours=8, landmarks=200, min_cluster=8, resolution=4, gain=0.3, stability_resamples=1
)
CPU = Compute("cpu", 0)
SETTINGS = ExpertSettings.model_construct(
    **{
        "clusters": "layer",
        "measure": "fisher",
        "homology_landmarks": 24,
        "permutations": 9,
        "shown_tokens": 4,
        "ablated": 2,
        "random_sets": 4,
        "ablation_tokens": 256,
    }
)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    model, texts = planted(), domain_texts()
    return {
        "seed_model": model,
        "domain_texts": texts,
        "domain_profile": domain_profile(model, texts),
        "tokenizer": tokenizer_folder(tmp_path_factory.mktemp("tokenizer")),
        "params:topology": TOPOLOGY,
        "params:experts": SETTINGS,
        "params:device": "cpu",
        "params:random_seed": 0,
    }


def run(given: dict) -> dict:
    """Every node of the pipeline in turn, with whatever those before it gave."""
    data = dict(given)
    for node in create_pipeline(base_parameters()).nodes:
        data |= node.run({name: data[name] for name in node.inputs})
    return data


@pytest.fixture(scope="module")
def results(given):
    return run(given)


def with_neurons(given: dict, neurons: list):
    """The profile with other responses of the feed-forward neurons."""
    return replace(given["domain_profile"], layers={"ffn": neurons})


def planted_one(results: dict) -> dict:
    """The expert that most of the planted neurons are in."""
    label = int(results["experts"].labels[LAYER][EXPERT].mode().values)
    return next(e for e in results["experts_report"]["experts"] if e["id"] == f"{LAYER}.{label}")


def test_the_planted_expert_is_found_and_labelled(results):
    experts = results["experts"]
    assert set(experts.labels) == {0, 1}
    assert all(labels.dtype == torch.int32 for labels in experts.labels.values())
    mine = experts.labels[LAYER][EXPERT]
    assert (mine == mine.mode().values).float().mean() > 0.9
    expert = planted_one(results)
    assert expert["labels"] == [LABELS[0]] and expert["selectivity"][LABELS[0]] > 0.5
    assert {t["label"] for t in expert["tokens"]} == {LABELS[0]}
    assert experts.scope == "layer"


def test_silencing_it_hurts_its_domain_more_than_random_nodes_and_more_than_the_other(results):
    ablation = results["ablation"]
    (row,) = [r for r in ablation["experts"] if r["id"] == planted_one(results)["id"]]
    assert row["judgement"] == "holds" and row["above_random"] == 1.0
    assert row["effect"][1] > 0 and row["selectivity"][1] > 0
    assert row["domains"][LABELS[0]] > 0.05 > row["domains"][LABELS[1]]
    assert "experts hurt their own domain more than random nodes do" in summary_line(ablation)
    assert ablation["tokens"] == {"low": 8 * 31, "high": 8 * 31}


def test_a_tokens_text_stands_in_its_window(results, given):
    """before + token + after is what the window holds there."""
    from birdbone.model.device import read_tokenizer

    tokenizer = read_tokenizer(given["tokenizer"])
    windows = [tokenizer.decode(w.tolist()) for w in given["domain_texts"].scan["low"]]
    for token in planted_one(results)["tokens"]:
        assert any(token["before"] + token["token"] + token["after"] in text for text in windows)


def test_reports_are_json_and_the_same_again(results, given):
    again = run(given)
    for name in ("experts_report", "ablation"):
        assert (
            json.loads(json.dumps(results[name], allow_nan=False)) == results[name] == again[name]
        )
    assert again["experts_page"] == results["experts_page"]
    labels = results["experts"].labels
    assert all(torch.equal(again["experts"].labels[i], labels[i]) for i in labels)


def test_persistence_is_told_of_every_layer_and_of_all_together(results):
    rows = results["experts_report"]["persistence"]
    assert [row["where"] for row in rows] == ["0", "1", "all"]
    for row in rows:
        assert len(row["diagrams"]["h0"]) == row["landmarks"] - 1 == len(row["baseline"]["h0"])
        assert all(0.1 <= figures["p"] <= 1 for figures in row["tests"].values())
    assert rows[1]["tests"]["h0_total"]["p"] == 0.1


def test_clusters_across_layers_carry_one_label_everywhere(given):
    first, second = given["domain_profile"].layers["ffn"]
    twin = with_neurons(given, [replace(first, profile=second.profile), second])
    settings = SETTINGS.model_copy(update={"clusters": "model"})
    experts, report = find_experts(
        twin, given["domain_texts"], given["tokenizer"], TOPOLOGY, settings, 0
    )
    assert torch.equal(experts.labels[0], experts.labels[1])
    assert any(len(e["layers"]) == 2 for e in report["experts"]) and list(report["stability"]) == [
        "all"
    ]
    assert all("." not in e["id"] for e in report["experts"])


def test_without_a_labelled_expert_nothing_is_silenced(results, given):
    report = results["experts_report"]
    report = {**report, "experts": [{**e, "labels": []} for e in report["experts"]]}
    found = ablate_experts(
        given["seed_model"], results["experts"], report, given["domain_texts"], SETTINGS, CPU
    )
    assert (
        found["verdict"] == "nothing to test" and found["experts"] == [] and found["labelled"] == 0
    )


def test_experts_of_another_model_are_refused(results, given):
    other = replace(results["experts"], model="0" * 64)
    with pytest.raises(ArtifactError, match="another model.*domains and experts again"):
        ablate_experts(
            given["seed_model"],
            other,
            results["experts_report"],
            given["domain_texts"],
            SETTINGS,
            CPU,
        )


def test_too_little_held_out_text_names_both_settings(results, given):
    asked = SETTINGS.model_copy(update={"ablation_tokens": 5000})
    with pytest.raises(ConfigError, match=r"experts\.ablation_tokens.*domains\.heldout_tokens"):
        report, texts = results["experts_report"], given["domain_texts"]
        ablate_experts(given["seed_model"], results["experts"], report, texts, asked, CPU)


@pytest.mark.parametrize(
    ("layer", "name"),
    [(1, "profile"), (0, "fisher")],
)
def test_nan_is_refused_by_name(given, layer, name):
    neurons = list(given["domain_profile"].layers["ffn"])
    broken = torch.full_like(getattr(neurons[layer], name), torch.nan)
    neurons[layer] = replace(neurons[layer], **{name: broken})
    with pytest.raises(NumericalError, match=rf"ffn\.{layer}\.{name} holds NaN"):
        find_experts(
            with_neurons(given, neurons),
            given["domain_texts"],
            given["tokenizer"],
            TOPOLOGY,
            SETTINGS,
            0,
        )


def test_a_profile_of_other_domains_is_refused(given):
    wrong = replace(given["domain_profile"], labels=["low", "middle"])
    with pytest.raises(ArtifactError, match="run pipeline domains again"):
        find_experts(wrong, given["domain_texts"], given["tokenizer"], TOPOLOGY, SETTINGS, 0)
