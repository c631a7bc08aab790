"""What the seed writes joins what was read, evenly, in calibration and healing alone."""

from types import SimpleNamespace

import pytest
import torch

from birdbone.errors import TextError
from birdbone.pipelines.seed import nodes
from birdbone.text.sources import Document
from birdbone.text.splits import split

TEXT = {"window": 4, "calibration_tokens": 40, "heal_tokens": 17, "written_share": 0.5}


class Tokenizer:
    all_special_ids = (0,)
    chat_template = None

    def __len__(self) -> int:
        return 9


def mixed(monkeypatch, share: float) -> tuple[dict, list]:
    """The texts after ``write_text``, where windows read hold 1 and written ones -1, and what was asked of the seed."""
    asked = []

    def write(seed, starts, count, length, random_seed, device):
        asked.append((starts.tolist(), count, length))
        return torch.full((count, length), -1, dtype=torch.int32)

    monkeypatch.setattr(nodes, "write_windows", write)
    monkeypatch.setattr(nodes, "read_tokenizer", lambda _: Tokenizer())
    text = {**TEXT, "written_share": share}
    read = {n: torch.ones(int((~found).sum()), 4, dtype=torch.int32) for n, found in nodes._by_seed(text).items()}
    read["guard.code"] = torch.ones(3, 4, dtype=torch.int32)
    windows, about = nodes.write_text(None, None, (read, {"source": "x"}), text, "cpu", 0)
    assert about == {"source": "x", "written_share": share}
    assert torch.equal(windows["guard.code"], read["guard.code"])
    return {n: windows[n][:, 0].tolist() for n in ("calibration", "heal")}, asked


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
    monkeypatch.setattr(nodes, "read_tokenizer", lambda _: Tokenizer())
    with pytest.raises(TextError, match=r"text\.chat.*no chat template"):
        nodes.read_text(None, {**TEXT, "chat": True}, 0)


class Letters(Tokenizer):
    """A token per letter."""

    eos_token_id = 0

    def __call__(self, string: str, **_: object) -> object:
        return SimpleNamespace(input_ids=[ord(c) for c in string])


READ = {
    **TEXT,
    "chat": False,
    "written_share": 0.0,
    "guard_tokens": 16,
    "test_tokens": 16,
}


def library(monkeypatch, sources: dict[str, list[Document]], text: dict) -> dict[str, torch.Tensor]:
    """The windows of a source ``mine`` and the guard domains of ``text``."""
    monkeypatch.setattr(nodes, "read_tokenizer", lambda _: Letters())
    monkeypatch.setattr(nodes, "documents", lambda source, chat: sources[source])
    return nodes.read_text(None, {**READ, "source": "mine", **text}, 0)[0]


MINE = [Document(f"title {i}", f"{i:03d} is a text of its own") for i in range(200)]


def test_a_domain_that_is_the_source_itself_is_judged_on_what_healing_never_reads(monkeypatch):
    windows = library(monkeypatch, {"mine": MINE}, {"guard_domains": ["mine"]})
    heads = {n: {bytes(row.tolist())[:3] for row in w} for n, w in windows.items() if not n.endswith("documents")}
    starts = [d.text[:3].encode() for d in split(MINE, 0, nodes.HEAL_SHARES)["heal"]]
    assert len(heads["guard.mine"]) > 1 and not (heads["guard.mine"] | heads["test.mine"]) & set(starts)
    assert not heads["guard.mine"] & heads["test.mine"]


def test_a_source_that_healing_does_not_read_is_guard_and_test_text_but_for_the_check(monkeypatch):
    asked = {"guard_domains": ["mine"], "written_share": 1.0, "guard_tokens": 240, "test_tokens": 240}
    windows = library(monkeypatch, {"mine": MINE}, asked)
    parts = split(MINE, 0, nodes.HEAL_SHARES)
    held = {d.text[:3].encode() for d in parts["guard"] + parts["test"]}
    guard, test = ({bytes(row.tolist())[:3] for row in windows[f"{n}.mine"]} for n in ("guard", "test"))
    assert len(guard) == len(test) == 60 and not guard & test and not (guard | test) & held


def test_guard_text_that_healing_reads_under_another_name_is_refused(monkeypatch):
    copies = {"mine": MINE, "copies": [Document(f"copy {i}", d.text) for i, d in enumerate(MINE)]}
    with pytest.raises(TextError, match=r"text\.guard_domains: copies holds documents that text\.source \(mine\)"):
        library(monkeypatch, copies, {"guard_domains": ["copies"]})
    library(monkeypatch, copies, {"guard_domains": ["copies"], "written_share": 1.0})  # healing reads none of it
    library(monkeypatch, {"mine": MINE + copies["copies"]}, {"guard_domains": ["mine"]})  # the copies are left out


def test_few_documents_are_said(monkeypatch, caplog):
    few = {"mine": MINE, "few": [Document(f"long {i}", f"long {i} " * 40) for i in range(6)]}
    library(monkeypatch, few, {"guard_domains": ["few"]})
    assert "guard text few is of" in caplog.text and "intervals are rough" in caplog.text
