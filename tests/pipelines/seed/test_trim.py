"""A seed with the job's tokens: what stays, what the whole one's reading costs, what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from families import small
from small_scans import CORPUS

from birdbone.errors import ConfigError
from birdbone.model.device import read_tokenizer
from birdbone.model.head import Head
from birdbone.model.judging.judge import judge, judge_itself
from birdbone.model.judging.reference import Reference, States, final_states
from birdbone.model.judging.trace import vocabulary_kl
from birdbone.model.network import build
from birdbone.model.vocabulary import reread
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.seed import trim
from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.pipelines.seed.settings.vocabulary import VocabularySettings
from birdbone.pipelines.seed.untrimmed import read_untrimmed
from birdbone.text.sources import Document
from birdbone.text.texts import Domain, Texts
from birdbone.text.tokenizer import train_tokenizer

JOB = [Document(f"file {i}", "def add(a, b): return a + b  # the sum") for i in range(30)]
OTHER = "the small model looks at the sum and says eight; zebras quit jumping over lazy dogs"
ABOUT = {"name": "small", "digest": "d", "parameters": 1, "tensors": "t"}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> trim.Source:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = train_tokenizer([*CORPUS, OTHER, JOB[0].text] * 3, 400)
    tokenizer.save_pretrained(folder)
    return trim.Source(small("llama", vocab_size=len(tokenizer)), folder, ABOUT)


@pytest.fixture
def trimmed(source, monkeypatch, tmp_path):
    """keep -> (seed, its tokenizer's folder, about, report)."""
    monkeypatch.setattr(trim, "documents", lambda _: JOB)

    def made(keep, at_least: int = 1):
        settings = VocabularySettings(keep=keep, at_least=at_least)
        text = TextSettings.model_construct(source="job", excerpts=True)
        seed, write, about, report = trim.trim_vocabulary(source, settings, text, 0)
        folder = tmp_path / "trimmed"
        folder.mkdir()
        write(folder)
        return seed, folder, about, report

    return made


def test_the_jobs_text_keeps_its_tokens_and_the_rest_goes(source, trimmed):
    seed, folder, about, report = trimmed("text")
    whole, tokenizer = read_tokenizer(source.tokenizer_folder), read_tokenizer(folder)
    assert tokenizer.tokenize(JOB[0].text) == whole.tokenize(JOB[0].text)
    assert report["tokens"] == len(tokenizer) == seed.config["vocab_size"] < report["of"]
    assert len(report["removed"]) == report["of"] - report["tokens"]
    assert not set(report["removed"]) & set(tokenizer.get_vocab())
    assert about["digest"] == seed.digest and about["trimmed_from"]["digest"] == "d"


def test_tokens_that_the_model_names_stay(source, trimmed, monkeypatch):
    whole = read_tokenizer(source.tokenizer_folder)
    zebra = whole.get_vocab()["Ġzebras"]
    monkeypatch.setitem(source.model.config, "eos_token_id", [0, zebra])
    seed, folder, _, _ = trimmed("text")
    kept = read_tokenizer(folder).get_vocab()
    assert seed.config["eos_token_id"] == [0, kept["Ġzebras"]]


def test_a_number_keeps_the_most_frequent(trimmed):
    _, folder, _, report = trimmed(275)
    assert 265 < report["tokens"] <= 275
    assert "Ġ=" not in read_tokenizer(folder).get_vocab()


def test_a_file_names_what_stays(source, trimmed, tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_text("Ġthe\n")
    _, folder, _, report = trimmed(str(path), at_least=1000)
    assert "Ġthe" in read_tokenizer(folder).get_vocab() and report["tokens"] < 275


def test_a_file_without_what_the_text_needs_is_refused_by_name(trimmed, tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_text("Ġthe\n")
    with pytest.raises(ConfigError, match=r"tokens\.txt leaves out \d+ tokens.*18 times.*at_least"):
        trimmed(str(path))


def test_what_cannot_be_kept_is_named(trimmed, tmp_path):
    with pytest.raises(ConfigError, match=r"vocabulary\.keep: 10 tokens.*need 25\d"):
        trimmed(10)
    path = tmp_path / "tokens.txt"
    path.write_text("Ġthe\nno-token\n")
    with pytest.raises(ConfigError, match=r"tokens\.txt, line 2: 'no-token' is no token"):
        trimmed(str(path))


def texts_of(folder, strings: list[str], window: int = 12) -> Texts:
    tokenizer = read_tokenizer(folder)
    rows = [tokenizer(s, add_special_tokens=False).input_ids[:window] for s in strings]
    domain = Domain(torch.tensor(rows, dtype=torch.int32), torch.arange(len(rows)))
    few = domain.windows
    return Texts(few, few, few, {"job": domain}, {"job": domain}, ["job"], "job", window)


def test_losses_count_from_the_untrimmed_seed(source, trimmed):
    seed, folder, _, _ = trimmed("text")
    texts = texts_of(folder, [JOB[0].text, OTHER, OTHER[20:]])
    readings, report = read_untrimmed(
        source.model, source.tokenizer_folder, folder, texts, 24, Compute("cpu", 0)
    )
    whole = read_tokenizer(source.tokenizer_folder)
    first = whole(
        read_tokenizer(folder).decode(texts.guard["job"].windows[0]), add_special_tokens=False
    ).input_ids
    logits = build(source.model)(torch.tensor([first])).logits[0].log_softmax(-1)
    expected = -sum(float(logits[t, token]) for t, token in enumerate(first[1:]))
    reading = readings.of("guard")["job"]
    assert float(reading.nll[0]) == pytest.approx(expected, rel=1e-5)
    assert reading.tokens[0] == len(first) - 1
    assert 0 < report["domains"]["job"]["lost"] < 1
    (traced,) = report["trace"]
    kept = torch.tensor(
        [i for token, i in whole.get_vocab().items() if token in read_tokenizer(folder).get_vocab()]
    )
    few = reread(texts.guard["job"].windows[[0, 2]], read_tokenizer(folder), whole)
    (expected,) = vocabulary_kl(build(source.model), Head.of(source.model), [kept], few, "again")
    assert traced["kl"] == pytest.approx(expected) and traced["kl"][0] > 0
    assert traced["control"]["kl"][0] > 0
    network = build(seed)
    states = {"job": final_states(network, texts.guard["job"].windows, "states")}
    reference = Reference(seed, states, readings.of("guard"))
    for figures in (
        judge(network, reference, texts.guard, 0)["job"],
        judge_itself(reference, texts.guard, 0)["job"],
    ):
        assert figures["kl"] == pytest.approx(0, abs=1e-6)
        nll = float(reference.losses("job", texts.guard["job"].windows).sum())
        change = (nll - float(reading.nll.sum())) / float(reading.tokens.sum())
        assert figures["change"] == pytest.approx(float(torch.tensor(change).exp()) - 1, rel=1e-4)


def test_readings_survive_beside_the_seeds_states(source, trimmed):
    _, folder, _, _ = trimmed("text")
    texts = texts_of(folder, [JOB[0].text, OTHER])
    readings, _ = read_untrimmed(
        source.model, source.tokenizer_folder, folder, texts, 24, Compute("cpu", 0)
    )
    states = States({"job": torch.zeros(2, 3, 4)}, {"job": torch.zeros(2, 3, 4)}, readings)
    back = States.from_tensors(*states.to_tensors())
    assert torch.equal(back.readings.of("test")["job"].nll, readings.of("test")["job"].nll)
    assert json.dumps(sorted(States({}, {}).to_tensors()[0])) == "[]"
