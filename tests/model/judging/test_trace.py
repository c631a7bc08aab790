"""What a step did: divergence on a little guard text, spread over all of it."""

import pytest
import torch
from families import small

from birdbone.algo.bootstrap import mean_interval
from birdbone.model.head import Head
from birdbone.model.judging.evaluate import compare
from birdbone.model.judging.reference import Reference, final_states
from birdbone.model.judging.trace import Tracer, traced_rows, vocabulary_kl
from birdbone.model.network import build
from birdbone.text.texts import Domain


@pytest.fixture(scope="module")
def seed():
    return small("llama")


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    random = torch.Generator().manual_seed(3)
    windows = torch.randint(0, 64, (6, 12), generator=random)
    return {
        "news": Domain(windows, torch.tensor([0, 0, 1, 1, 2, 3])),
        "code": Domain(windows, torch.arange(6)),
    }


def tracer(seed, domains, tokens: int) -> Tracer:
    network = build(seed)
    states = {name: final_states(network, d.windows, name) for name, d in domains.items()}
    return Tracer(Reference(seed, states), domains, tokens, "cpu", 0)


def changed(seed):
    return seed.evolve(
        {n: 1.2 * w for n, w in seed.weights.items() if n.endswith("up_proj.weight")}
    )


def test_all_its_tokens_give_the_divergence_of_the_whole_text(seed, domains):
    state = changed(seed)
    found = tracer(seed, domains, 2 * 6 * 12).kl(state, "test")
    reference = tracer(seed, domains, 1).reference
    sums = [
        compare(build(state), lambda rows, n=n: reference.logits(n, rows, "cpu"), d.windows)["kl"]
        for n, d in domains.items()
    ]
    assert found[0] == pytest.approx(float(torch.cat(sums).sum()) / (12 * 11), rel=1e-6)
    assert found[1] < found[0] < found[2]


def test_fewer_tokens_are_spread_over_the_text(domains):
    assert traced_rows(domains["news"], 36).tolist() == [0, 2, 5]
    assert traced_rows(domains["news"], 1).tolist() == [0]
    assert traced_rows(domains["news"], 10**6).tolist() == list(range(6))


def test_a_row_has_size_and_control(seed, domains):
    few = tracer(seed, domains, 48)
    row = few.step("pruning", changed(seed), "wave 1", ("nothing done", seed))
    assert row["control"] == {"what": "nothing done", "kl": [0.0, 0.0, 0.0]}
    assert (row["step"], row["parameters"]) == ("pruning", seed.parameters)
    assert "control" not in few.step("pruning", seed, "wave 1", None)


def test_a_smaller_vocabulary_costs_the_probability_of_what_went(seed):
    encoded = [torch.arange(10), torch.arange(20, 34)]
    kept, every = torch.arange(40), torch.arange(seed.config["vocab_size"])
    ours, none = vocabulary_kl(build(seed), Head.of(seed), [kept, every], encoded, "test")
    expected = []
    for ids in encoded:
        shares = build(seed)(ids[None]).logits[0, :-1].softmax(-1)
        expected.append(-shares[:, :40].sum(-1).log().sum())
    lengths = [9, 13]
    assert ours == pytest.approx(mean_interval([float(e) for e in expected], lengths), rel=1e-4)
    assert none == pytest.approx([0, 0, 0], abs=1e-5)
