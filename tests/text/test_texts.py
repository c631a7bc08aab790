"""Texts come back from disk as they were stored."""

import torch

from birdbone.datasets.folders import ObjectFolder
from birdbone.text.texts import Domain, LabelledTexts, Texts


def windows(seed: int, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 50, (count, 8), generator=generator, dtype=torch.int32)


def domain(seed: int) -> Domain:
    return Domain(windows(seed), torch.arange(3, dtype=torch.int32))


def stored(tmp_path, texts):
    folder = ObjectFolder(str(tmp_path / "texts"), f"birdbone.text.texts.{type(texts).__name__}")
    folder.save(texts)
    return folder.load()


def test_texts_of_a_run_come_back_from_disk_with_a_dot_in_a_domains_name(tmp_path):
    guard = {"news": domain(4), "my.notes": domain(5)}
    test = {"news": domain(6), "my.notes": domain(7)}
    texts = Texts(windows(1), windows(2), windows(3), guard, test, list(guard), "wikipedia", 8, 0.5)
    again = stored(tmp_path, texts)
    assert (again.source, again.window, again.written_share) == ("wikipedia", 8, 0.5)
    assert again.domains == ["news", "my.notes"]
    assert list(again.guard) == list(again.test) == ["my.notes", "news"]
    assert torch.equal(again.calibration, texts.calibration)
    assert torch.equal(again.heal, texts.heal)
    assert torch.equal(again.check, texts.check)
    assert torch.equal(again.guard["my.notes"].windows, guard["my.notes"].windows)
    assert torch.equal(again.test["news"].documents, test["news"].documents)


def test_labelled_texts_come_back_in_the_order_of_their_labels(tmp_path):
    sources = {"prose": "wikipedia", "code": "code"}
    scan = {label: windows(i) for i, label in enumerate(sources)}
    heldout = {label: windows(i + 9) for i, label in enumerate(sources)}
    again = stored(tmp_path, LabelledTexts(scan, heldout, sources, 8))
    assert again.labels == ["prose", "code"] and again.sources == sources
    assert all(torch.equal(again.scan[label], scan[label]) for label in sources)
    assert all(torch.equal(again.heldout[label], heldout[label]) for label in sources)
