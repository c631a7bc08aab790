"""Figures of a domain from sums per window."""

import math

import pytest
import torch

from birdbone.algo.perplexity import (
    bound_of,
    domain_figures,
    judged_change,
    perplexity,
    without_documents,
    worst_change,
)

SCORED = 10


def measured(nll: float, seed_nll: float, windows: int = 6) -> dict[str, torch.Tensor]:
    bend = torch.linspace(0.9, 1.1, windows, dtype=torch.float64)
    return {
        "nll": nll * SCORED * bend,
        "seed_nll": seed_nll * SCORED * bend,
        "kl": torch.full((windows,), 0.5 * SCORED, dtype=torch.float64),
        "agree": torch.full((windows,), 0.8 * SCORED, dtype=torch.float64),
    }


DOCUMENTS = torch.tensor([0, 0, 1, 5, 5, 5])


def figures(nll: float = 2.1, seed_nll: float = 2.0) -> dict:
    return domain_figures(measured(nll, seed_nll), DOCUMENTS, SCORED, random_seed=0)


def test_perplexity_is_the_exponential_of_the_mean_loss():
    assert perplexity(torch.tensor([20.0, 40.0]), 30) == pytest.approx(math.exp(2))


def test_the_figures_of_a_domain():
    found = figures()
    assert found["perplexity"] == pytest.approx(math.exp(2.1)) and found[
        "seed_perplexity"
    ] == pytest.approx(math.exp(2))
    assert found["change"] == pytest.approx(math.exp(0.1) - 1)
    assert found["change_low"] <= found["change"] <= found["change_high"]
    assert found["kl"] == pytest.approx(0.5) and found["top1"] == pytest.approx(0.8)
    assert (found["tokens"], found["documents"]) == (60, 3)


def test_windows_of_one_document_count_together():
    found = figures()
    assert found["document_tokens"] == [20, 10, 30]
    assert sum(found["document_nll"]) == pytest.approx(2.1 * 60)
    assert found["document_nll"][1] == pytest.approx(measured(2.1, 2.0)["nll"][2].item())


def test_the_same_model_changes_nothing():
    found = figures(2.0, 2.0)
    assert found["change"] == found["change_low"] == found["change_high"] == 0


def test_the_worst_domain_is_the_one_that_rose_most():
    name, change = worst_change(
        {"news": figures(2.05), "code": figures(2.3), "wiki": figures(1.9)}, None
    )
    assert name == "code" and change == pytest.approx(math.exp(0.3) - 1)


@pytest.mark.parametrize(("control", "reference"), [(1.8, 1.8), (2.4, 2.0)])
def test_the_reference_is_the_better_of_seed_and_control(control, reference):
    domains, controls = {"news": figures(2.1)}, {"news": figures(control)}
    expected = math.exp(2.1 - reference) - 1
    assert worst_change(domains, controls)[1] == pytest.approx(expected)
    change, low, high = judged_change(domains["news"], controls["news"], 0)
    assert change == pytest.approx(expected) and low <= change <= high


def test_without_a_control_the_seed_is_the_reference():
    found = figures()
    assert judged_change(found, None, 0) == [
        found["change"],
        found["change_low"],
        found["change_high"],
    ]


def test_the_bound_adds_standard_errors_of_the_change():
    found = figures(2.05) | {"change_low": 0.0, "change_high": 0.4}
    assert bound_of(found, None, 0, 0) == (found["change"], found["change"])
    change, bound = bound_of(found, None, 1, 0)
    assert found["documents"] == 3
    assert bound == pytest.approx(change + 0.1 * math.sqrt(3 / 2))


def test_reports_leave_out_the_lists_per_document():
    assert not [
        k for k in without_documents({"news": figures()})["news"] if k.startswith("document_")
    ]
    assert without_documents({"news": figures()})["news"]["documents"] == 3
