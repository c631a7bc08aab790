"""What the seed writes joins what was read, evenly, in calibration and healing alone."""

from types import SimpleNamespace

import pytest
import torch

from birdbone.errors import TextError
from birdbone.pipelines.seed.mix import written_places
from birdbone.pipelines.seed.settings.text import TextSettings
from birdbone.pipelines.seed.text import read_text
from birdbone.pipelines.seed.write import write_text
from birdbone.text.sources import Document
from birdbone.text.splits import HEAL_SHARES, job_parts, split_documents
from birdbone.text.texts import Domain, Texts

TEXT = {
    "source": "mine",
    "window": 4,
    "calibration_tokens": 40,
    "heal_tokens": 17,
    "written_share": 0.5,
    "chat": False,
    "excerpts": False,
    "elsewhere": [],
    "guard_tokens": 16,
    "test_tokens": 16,
}


def settings(**changes) -> TextSettings:
    return TextSettings.model_construct(**{**TEXT, **changes})


class Tokenizer:
    all_special_ids = (0,)
    chat_template = None

    def __len__(self) -> int:
        return 9


def mixed(monkeypatch, share: float) -> tuple[dict, list]:
    """The texts after ``write_text``, where windows read hold 1 and written ones -1, and what was
    asked of the seed.
    """
    asked = []

    def write(seed, starts, count, length, random_seed, device):
        asked.append((starts.tolist(), count, length))
        return torch.full((count, length), -1, dtype=torch.int32)

    monkeypatch.setattr("birdbone.pipelines.seed.write.write_windows", write)
    monkeypatch.setattr("birdbone.pipelines.seed.write.read_tokenizer", lambda _: Tokenizer())
    text = settings(written_share=share)
    read = {
        name: torch.ones(int((~by_seed).sum()), 4, dtype=torch.int32)
        for name, by_seed in written_places(text).items()
    }
    code = Domain(torch.ones(3, 4, dtype=torch.int32), torch.arange(3))
    before = Texts(
        **read,
        check=code.windows,
        guard={"code": code},
        test={},
        domains=["code"],
        source="x",
        window=4,
    )
    texts = write_text(None, None, before, text, "cpu", 0)
    assert texts.written_share == share and texts.guard == before.guard
    return {n: getattr(texts, n)[:, 0].tolist() for n in ("calibration", "heal")}, asked


def test_every_second_window_is_the_seeds(monkeypatch):
    windows, asked = mixed(monkeypatch, 0.5)
    assert windows["calibration"] == [1, -1] * 5
    assert windows["heal"] == [1, -1, 1, -1, 1]
    assert asked == [(list(range(1, 9)), 7, 4)]


@pytest.mark.parametrize(("share", "first"), [(0.0, 1), (1.0, -1)])
def test_all_or_nothing(monkeypatch, share, first):
    windows, asked = mixed(monkeypatch, share)
    assert set(windows["calibration"] + windows["heal"]) == {first}
    assert len(windows["calibration"]) == 10 and len(windows["heal"]) == 5
    assert len(asked) == (share > 0)


def test_chat_needs_a_tokenizer_with_a_template(monkeypatch):
    monkeypatch.setattr("birdbone.pipelines.seed.text.read_tokenizer", lambda _: Tokenizer())
    with pytest.raises(TextError, match=r"text\.chat.*no chat template"):
        read_text(None, settings(chat=True), None, 0)


class Letters(Tokenizer):
    """A token per letter."""

    eos_token_id = 0

    def __call__(self, string: str, **_: object) -> object:
        return SimpleNamespace(input_ids=[ord(c) for c in string])


def library(monkeypatch, sources: dict[str, list[Document]], text: dict, job=None) -> Texts:
    """The texts of a source ``mine`` and the guard domains of ``text``."""
    monkeypatch.setattr("birdbone.pipelines.seed.text.read_tokenizer", lambda _: Letters())
    monkeypatch.setattr(
        "birdbone.pipelines.seed.text.documents", lambda source, chat: sources[source]
    )
    return read_text(None, settings(**{"written_share": 0.0, **text}), job, 0)


def heads(domain: Domain) -> set[bytes]:
    """The first three letters of every window."""
    return {bytes(row.tolist())[:3] for row in domain.windows}


MINE = [Document(f"title {i}", f"{i:03d} is a text of its own") for i in range(200)]


def test_a_domain_that_is_the_source_itself_is_judged_on_what_healing_never_reads(monkeypatch):
    texts = library(monkeypatch, {"mine": MINE}, {"guard_domains": ["mine"]})
    guard, test = heads(texts.guard["mine"]), heads(texts.test["mine"])
    starts = [d.text[:3].encode() for d in split_documents(MINE, 0, HEAL_SHARES)["heal"]]
    assert len(guard) > 1 and not (guard | test) & set(starts)
    assert not guard & test


def test_the_jobs_text_is_called_by_the_jobs_name(monkeypatch):
    asked = {"guard_domains": ["mine"]}
    texts = library(monkeypatch, {"mine": MINE}, asked, {"letters": "mine"})
    assert texts.domains == list(texts.guard) == list(texts.test) == ["letters"]


def test_a_source_that_healing_does_not_read_is_guard_and_test_text_but_for_the_check(monkeypatch):
    asked = {
        "guard_domains": ["mine"],
        "written_share": 1.0,
        "guard_tokens": 240,
        "test_tokens": 240,
    }
    texts = library(monkeypatch, {"mine": MINE}, asked)
    parts = split_documents(MINE, 0, HEAL_SHARES)
    held = {d.text[:3].encode() for d in parts["guard"] + parts["test"]}
    guard, test = heads(texts.guard["mine"]), heads(texts.test["mine"])
    assert len(guard) == len(test) == 60 and not guard & test and not (guard | test) & held


def test_guard_text_that_healing_reads_under_another_name_is_refused(monkeypatch):
    copies = {"mine": MINE, "copies": [Document(f"copy {i}", d.text) for i, d in enumerate(MINE)]}
    with pytest.raises(
        TextError, match=r"text\.guard_domains: copies holds documents that text\.source \(mine\)"
    ):
        library(monkeypatch, copies, {"guard_domains": ["copies"]})
    library(
        monkeypatch, copies, {"guard_domains": ["copies"], "written_share": 1.0}
    )  # healing reads none of it
    library(
        monkeypatch, {"mine": MINE + copies["copies"]}, {"guard_domains": ["mine"]}
    )  # the copies are left out


def test_few_documents_are_said(monkeypatch, caplog):
    few = {"mine": MINE, "few": [Document(f"long {i}", f"long {i} " * 40) for i in range(6)]}
    library(monkeypatch, few, {"guard_domains": ["few"]})
    assert "guard text few is of" in caplog.text and "intervals are rough" in caplog.text


def test_a_stretch_of_every_document_is_read_and_check_text_is_judged_by_nothing(monkeypatch):
    long = [Document(f"title {i}", f"{i:03d}" * 40) for i in range(200)]
    asked = {"guard_domains": ["mine"], "excerpts": True}
    texts = library(monkeypatch, {"mine": long}, asked)

    def numbers(windows) -> set[str]:
        return {bytes(row[-3:].tolist()).decode() for row in windows}

    learnt = torch.cat([texts.calibration, texts.heal])
    assert len({"".join(sorted(n)) for n in numbers(learnt)}) > 10
    held = texts.guard["mine"].windows, texts.test["mine"].windows
    starts = [{d.text[:3] for d in part} for part in job_parts(long, 0).values()]
    assert all(
        {bytes(row[:3].tolist()).decode() for row in part} <= s
        for part, s in zip(held, starts[1:], strict=True)
    )
    assert not heads(Domain(texts.check, None)) & heads(texts.guard["mine"])


def test_domains_elsewhere_are_test_text_alone(monkeypatch):
    other = [Document(f"other {i}", f"other {i} " * 9) for i in range(20)]
    asked = {"guard_domains": ["mine"], "elsewhere": ["other"]}
    texts = library(monkeypatch, {"mine": MINE, "other": other}, asked)
    assert texts.elsewhere == ("other",) and set(texts.guard) == {"mine"}
    assert set(texts.test) == {"mine", "other"}
    back = Texts.from_tensors(*texts.to_tensors())
    assert back.elsewhere == ("other",) and set(back.test) == {"mine", "other"}


def test_ten_documents_are_enough_for_a_job(monkeypatch):
    few = [Document(f"title {i}", f"{i}" * 60) for i in range(10)]
    asked = {"guard_domains": ["mine"], "excerpts": True}
    texts = library(monkeypatch, {"mine": few}, asked)
    parts = [texts.check, texts.guard["mine"].windows, texts.test["mine"].windows]
    parts.append(torch.cat([texts.calibration, texts.heal]))
    letters = [set(part.flatten().tolist()) - {0} for part in parts]
    assert sum(map(len, letters)) == len(set.union(*letters)) == 10
