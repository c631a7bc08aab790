"""The seed's kept states give the logits of the seed itself."""

import pytest
import torch
from two_layer_models import CONFIGS, checkpoint_of, logits, random_model, small, tokens

from birdbone.algo.perplexity import perplexity
from birdbone.model.judging.evaluate import compare, losses
from birdbone.model.judging.judge import judge, judge_itself
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.network import build
from birdbone.text.texts import Domain


def reference_of(checkpoint, windows) -> Reference:
    return Reference(checkpoint, {"news": final_states(build(checkpoint), windows, "states")})


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("tied", [True, False])
def test_the_head_on_the_states_is_the_network(name, tied):
    checkpoint = checkpoint_of(random_model(name, tie_word_embeddings=tied))
    windows = tokens()
    found = reference_of(checkpoint, windows).logits("news", slice(0, len(windows)), torch.device("cpu"))
    torch.testing.assert_close(found, logits(build(checkpoint), windows), atol=1e-5, rtol=0)


def test_a_soft_cap_on_the_logits_is_kept():
    checkpoint = checkpoint_of(random_model("gemma3", final_logit_softcapping=0.5))
    windows = tokens()
    found = reference_of(checkpoint, windows).logits("news", slice(0, 1), torch.device("cpu"))
    assert found.abs().max() < 0.5
    torch.testing.assert_close(found, logits(build(checkpoint), windows[:1]), atol=1e-5, rtol=0)


def test_figures_from_the_states_are_those_of_the_network():
    checkpoint = small("llama")
    windows = torch.randint(0, 64, (5, 12), generator=torch.Generator().manual_seed(3))
    reference, network = reference_of(checkpoint, windows), build(checkpoint)
    expected = perplexity(losses(network, windows), 5 * 11)
    assert perplexity(reference.losses("news", windows), 5 * 11) == pytest.approx(expected)
    found = compare(network, lambda rows: reference.logits("news", rows, torch.device("cpu")), windows)
    assert found["kl"].abs().max() < 1e-5 and found["agree"].tolist() == [11] * 5


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
