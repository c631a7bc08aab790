"""The seed's kept states give the logits of the seed itself."""

import pytest
import torch
from families import FAMILIES, checkpoint_of, logits, random_model, small, tokens

from birdbone.algo.perplexity import perplexity
from birdbone.model.judging.evaluate import compare, losses
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.network import build


def reference_of(checkpoint, windows) -> Reference:
    return Reference(checkpoint, {"news": final_states(build(checkpoint), windows, "states")})


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_the_head_on_the_states_is_the_network(name, tied):
    checkpoint = checkpoint_of(random_model(name, tie_word_embeddings=tied))
    windows = tokens()
    found = reference_of(checkpoint, windows).logits(
        "news", slice(0, len(windows)), torch.device("cpu")
    )
    torch.testing.assert_close(found, logits(build(checkpoint), windows), atol=1e-5, rtol=0)


def test_a_soft_cap_on_the_logits_is_kept():
    checkpoint = checkpoint_of(random_model("gemma3_text", final_logit_softcapping=0.5))
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
    found = compare(
        network, lambda rows: reference.logits("news", rows, torch.device("cpu")), windows
    )
    assert found["kl"].abs().max() < 1e-5 and found["agree"].tolist() == [11] * 5
