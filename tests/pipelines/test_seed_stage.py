"""What the seed writes joins what was read, evenly, in calibration and healing alone."""

import pytest
import torch

from birdbone.errors import TextError
from birdbone.pipelines.seed import nodes

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
