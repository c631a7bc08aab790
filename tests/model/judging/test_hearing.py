"""A model judged document by document: as the whole text would, with less of it read."""

from dataclasses import replace

import pytest
import torch
from families import small

from birdbone.algo.perplexity import bound_of
from birdbone.model.judging.hearing import Hearing, Rule
from birdbone.model.judging.judge import judge
from birdbone.model.judging.reference import Reading, Reference, final_states
from birdbone.model.network import build
from birdbone.text.texts import Domain

DOCUMENTS = 24
RULE = Rule(limit=0.03, errors=2.0, error=0.01, control=None, random_seed=5)


@pytest.fixture(scope="module")
def seed():
    return small("llama")


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    random = torch.Generator().manual_seed(3)
    documents = torch.arange(DOCUMENTS).repeat_interleave(2)
    return {
        name: Domain(torch.randint(0, 64, (len(documents), 12), generator=random), documents)
        for name in ("code", "news")
    }


@pytest.fixture(scope="module")
def reference(seed, domains) -> Reference:
    network = build(seed)
    return Reference(seed, {n: final_states(network, d.windows, n) for n, d in domains.items()})


def noisy(seed, size: float):
    """The seed with noise of a share of each matrix's own spread."""
    random = torch.Generator().manual_seed(1)
    return build(
        seed.evolve(
            {
                name: w + size * w.std() * torch.randn(w.shape, generator=random)
                for name, w in seed.weights.items()
                if w.dim() == 2
            }
        )
    )


def hearing(reference, domains, rule=RULE, helpers=None) -> Hearing:
    return Hearing(reference, domains, rule, helpers or {}, "test")


@pytest.mark.parametrize("size", [0.0, 0.1, 0.4])
def test_read_to_the_end_it_is_the_judge_of_the_whole_text(seed, reference, domains, size):
    network = noisy(seed, size)
    heard = hearing(reference, domains)
    verdict = heard.finish(network)
    whole = judge(network, reference, domains, RULE.random_seed)
    bounds = {n: bound_of(f, None, RULE.errors, RULE.random_seed) for n, f in whole.items()}
    worst = max(bounds, key=lambda name: bounds[name][1])
    assert heard.complete and verdict.read == 1
    assert (verdict.domain, verdict.accepted) == (worst, bounds[worst][1] <= RULE.limit)
    assert (verdict.change, verdict.bound) == pytest.approx(bounds[worst], rel=1e-6)
    assert heard.figures["code"]["kl"] == pytest.approx(whole["code"]["kl"], rel=1e-5, abs=1e-9)


def test_a_lost_model_is_not_read_to_its_end(seed, reference, domains):
    network = noisy(seed, 1.0)
    heard = hearing(reference, domains)
    verdict = heard.until_clear(network)
    assert not verdict.accepted and verdict.read < 0.6 and not heard.complete
    assert not hearing(reference, domains).finish(network).accepted


def test_the_seed_itself_is_won_early_and_what_waits_can_be_read_later(seed, reference, domains):
    network = build(seed)
    heard = hearing(reference, domains)
    assert heard.until_clear(network).accepted and not heard.complete
    assert not heard.figures
    verdict = heard.finish(network)
    assert heard.complete and verdict.read == 1 and verdict.bound == pytest.approx(0, abs=1e-6)
    assert verdict == hearing(reference, domains).finish(network)


def test_no_error_allowed_reads_all(seed, reference, domains):
    heard = hearing(reference, domains, replace(RULE, error=0.0))
    assert heard.until_clear(noisy(seed, 1.0)).read == 1 and heard.complete


def test_an_earlier_model_helps_where_documents_fare_alike(seed, reference, domains):
    first = hearing(reference, domains)
    first.finish(noisy(seed, 0.30))
    rule = replace(RULE, limit=first.finish(noisy(seed, 0.30)).bound * 1.02, error=0.05)
    alone = hearing(reference, domains, rule).until_clear(noisy(seed, 0.29))
    helped = hearing(reference, domains, rule, first.deviations()).until_clear(noisy(seed, 0.29))
    assert helped.read < alone.read and helped.accepted == alone.accepted


def test_it_judges_against_the_better_of_seed_and_control(seed, reference, domains):
    control = judge(build(seed), reference, domains, 0)
    for figures in control.values():
        figures["document_nll"] = [0.9 * nll for nll in figures["document_nll"]]
        figures["perplexity"] = figures["perplexity"] ** 0.9
    rule = replace(RULE, control=control)
    assert not hearing(reference, domains, rule).until_clear(build(seed)).accepted


def test_losses_count_from_the_untrimmed_seed(seed, reference, domains):
    readings = {
        name: Reading(
            0.9 * reference.losses(name, domain.windows), torch.full((48,), 10.0).double()
        )
        for name, domain in domains.items()
    }
    trimmed = replace(reference, readings=readings)
    verdict = hearing(trimmed, domains).until_clear(build(seed))
    whole = judge(build(seed), trimmed, domains, 0)
    assert not verdict.accepted
    assert verdict.change == pytest.approx(whole[verdict.domain]["change"], rel=0.1)


def test_a_record_holds_what_was_read(seed, reference, domains):
    heard = hearing(reference, domains)
    verdict = heard.until_clear(noisy(seed, 1.0))
    record = heard.record()
    read = sum(len(rows["documents"]) for rows in record.values())
    assert verdict.read == pytest.approx(read / (2 * DOCUMENTS))
    for rows in record.values():
        assert len(rows["before"]) == len(rows["after"]) == len(rows["tokens"])
