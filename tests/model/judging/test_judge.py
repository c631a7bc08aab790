"""The seed, judged against itself."""

import pytest
import torch
from families import small

from birdbone.model.judging.judge import judge, judge_itself
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.network import build
from birdbone.text.texts import Domain


def reference_of(checkpoint, windows) -> Reference:
    return Reference(checkpoint, {"news": final_states(build(checkpoint), windows, "states")})


def test_the_seed_judged_against_itself_has_not_changed():
    checkpoint = small("llama")
    windows = torch.randint(0, 64, (5, 12), generator=torch.Generator().manual_seed(3))
    domains = {"news": Domain(windows, torch.tensor([0, 0, 1, 2, 2]))}
    reference = reference_of(checkpoint, windows)
    itself, judged = (
        judge_itself(reference, domains, 0)["news"],
        judge(build(checkpoint), reference, domains, 0)["news"],
    )
    assert itself.keys() == judged.keys() and itself["kl"] == 0 and itself["change"] == 0 and itself["top1"] == 1
    assert itself["perplexity"] == pytest.approx(judged["perplexity"])
    assert itself["document_nll"] == pytest.approx(judged["document_nll"])
