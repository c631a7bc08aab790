"""Labelled scans: sets from different documents, figures that are the nodes' own, and a killed scan
that goes on.
"""

import tempfile
from pathlib import Path

import pytest
import torch
from small_scans import model, tokenizer_folder

from birdbone.datasets.folders import ObjectFolder
from birdbone.datasets.mscan import MscanFile
from birdbone.datasets.mscan_open import open_scan
from birdbone.errors import ConfigError, NumericalError, TextError
from birdbone.model.network import build
from birdbone.model.observing.gradients import gradients
from birdbone.pipelines.domains.scan import scan_domains
from birdbone.pipelines.domains.settings import DomainSettings
from birdbone.pipelines.domains.texts import read_texts
from birdbone.pipelines.inputs import Compute, Seed, Workplace
from birdbone.pipelines.sps_scan.settings import ScanSettings
from birdbone.scan import domains
from birdbone.scan.domains import DomainProfile

ABOUT = {"name": "small", "digest": "d" * 64}
DOWN = "model.layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tokenizer_folder(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def texts(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prose")
    for i in range(12):
        (folder / f"{i}.txt").write_text(f"the model says {i} " * 30)
    sets = {"prose": str(folder), "arithmetic": "arithmetic", "talk": "seed_chat"}
    return read_texts(model(), words, settings(sets), Compute("cpu", 0))


def settings(sets) -> DomainSettings:
    return DomainSettings(
        sets=sets, window=12, scan_tokens=36, heldout_tokens=24, profile_tokens=12
    )


def scanned(texts, words, checkpoint=None, about=ABOUT, scratch=None):
    block = ScanSettings(record_tokens=1, block=64)
    scratch = scratch or Path(tempfile.mkdtemp())
    return scan_domains(
        Seed(checkpoint or model(), about, words),
        texts,
        settings(texts.sources),
        block,
        Workplace("cpu", 0, scratch),
    )


def test_every_set_has_windows_to_scan_and_to_hold_out(texts):
    assert texts.labels == ["prose", "arithmetic", "talk"]
    for label in texts.labels:
        assert texts.scan[label].shape == (3, 12) and texts.heldout[label].shape == (2, 12)
        assert texts.scan[label].dtype == torch.int32
        sides = [
            {tuple(row.tolist()) for row in side[label]} for side in (texts.scan, texts.heldout)
        ]
        assert label == "talk" or not sides[0] & sides[1], (
            "talks may open with the same three words"
        )


def test_a_set_that_is_too_short_names_itself_and_its_setting(words, tmp_path):
    (tmp_path / "a.txt").write_text("3 + 5")
    (tmp_path / "b.txt").write_text("3 + 5")
    with pytest.raises(
        TextError, match=r"domains\.\w+_tokens of sums .*too short|too short for domains"
    ):
        read_texts(
            model(), words, settings({"sums": str(tmp_path), "x": "arithmetic"}), Compute("cpu", 0)
        )


def test_the_profile_is_the_nodes_own_values_at_the_sampled_tokens(texts, words):
    _, profile = scanned(texts, words)
    assert (
        profile.tokens == {"prose": 33, "arithmetic": 33, "talk": 33} and profile.model == "d" * 64
    )
    places = profile.sampled
    assert places["domain"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    network = build(model())
    for i in (0, 5, 11):
        label = profile.labels[places["domain"][i]]
        ids = texts.scan[label][places["window"][i]]
        h, _ = gradients(network, [DOWN], ids)[DOWN]
        expected = h[places["position"][i]].half()
        torch.testing.assert_close(
            profile.layers["ffn"][1].profile[:, i], expected, atol=1e-3, rtol=1e-2
        )
    groups = profile.layers["kv"][0].profile
    assert groups.shape == (2, 12) and (groups >= 0).all()


def test_the_labels_figures_are_means_over_their_own_tokens(texts, words):
    _, profile = scanned(texts, words)
    measured = profile.layers["ffn"][1]
    network = build(model())
    pairs = [gradients(network, [DOWN], ids)[DOWN] for ids in texts.scan["arithmetic"]]
    h = torch.cat([h for h, _ in pairs])
    g = torch.cat([grad @ network.get_submodule(DOWN).weight for _, grad in pairs])
    torch.testing.assert_close(measured.activity[1], h.abs().mean(0), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(measured.sensitivity[1], g.abs().mean(0), atol=1e-6, rtol=1e-4)
    fisher = h.square().mean(0) * g.square().mean(0)
    torch.testing.assert_close(measured.fisher[1], fisher, atol=1e-9, rtol=1e-3)
    z = [(x.abs() - x.abs().mean()) / x.abs().std(correction=0) for x in (h, g)]
    torch.testing.assert_close(measured.sps[1], (z[0] - z[1]).mean(0), atol=1e-3, rtol=1e-3)


def test_the_scan_holds_every_labels_tokens_under_its_name(texts, words):
    path, _ = scanned(texts, words)
    found = open_scan(path, model_digest="d" * 64)
    assert [(source, len(tokens)) for source, tokens in found.chunks] == [
        (label, 11) for label in ("prose", "arithmetic", "talk") for _ in range(3)
    ]


def same(one: DomainProfile, other: DomainProfile) -> None:
    tensors, about = one.to_tensors()
    others, other_about = other.to_tensors()
    assert about == other_about and tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def test_a_profile_comes_back_from_disk(texts, words, tmp_path):
    _, profile = scanned(texts, words)
    folder = ObjectFolder(str(tmp_path / "profile"), "birdbone.scan.domains.DomainProfile")
    folder.save(profile)
    same(folder.load(), profile)


def killed_after(monkeypatch, windows):
    """Let a scan fail at the given window, as a kill would end it; returns the windows that were
    passed through.
    """
    seen, real = [], domains.gradients

    def counted(network, names, ids):
        if len(seen) == windows:
            raise NumericalError("killed")
        seen.append(ids)
        return real(network, names, ids)

    monkeypatch.setattr(domains, "gradients", counted)
    return seen


def test_a_killed_scan_can_be_read_and_goes_on_to_the_same_result(
    texts, words, tmp_path, monkeypatch
):
    undisturbed, expected = scanned(texts, words)
    monkeypatch.setattr(domains, "CHECKPOINT", 1)
    with monkeypatch.context() as patch:
        killed_after(patch, 5)
        with pytest.raises(NumericalError, match="killed"):
            scanned(texts, words, scratch=tmp_path)
    cut = open_scan(tmp_path / "domains.mscan", partial=True)
    assert len(cut) == 5 * 11 and not cut.complete
    with monkeypatch.context() as patch:
        again = killed_after(patch, 99)
        path, resumed = scanned(texts, words, scratch=tmp_path)
    assert len(again) == 4
    assert path.read_bytes() == undisturbed.read_bytes()
    same(resumed, expected)
    MscanFile(str(tmp_path / "kept.mscan")).save(path)
    assert len(MscanFile(str(tmp_path / "kept.mscan")).load()) == 99


def test_a_killed_scan_of_another_model_or_text_is_not_gone_on_with(
    texts, words, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        killed_after(patch, 5)
        with pytest.raises(NumericalError, match="killed"):
            scanned(texts, words, scratch=tmp_path)
    path, _ = scanned(texts, words, model(1), {**ABOUT, "digest": "e" * 64}, scratch=tmp_path)
    assert len(open_scan(path, model_digest="e" * 64)) == 99


def test_more_sampled_tokens_than_there_are_names_the_setting():
    with pytest.raises(ConfigError, match=r"domains\.profile_tokens.*code has 11"):
        domains.sample_tokens({"code": torch.zeros(1, 12), "talk": torch.zeros(1, 12)}, 40, 0)
