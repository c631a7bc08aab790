"""llama.cpp as referee: the same figures as PyTorch, and typed errors for files it refuses."""

from __future__ import annotations

import signal
from pathlib import Path

import llama_cpp
import pytest
import torch
from families import checkpoint_of
from gguf_models import mean_kl, random_model, some_tokens, torch_logits

from birdbone.algo.grids import GRIDS
from birdbone.errors import ArtifactError, ExportError
from birdbone.gguf import child, llamacpp
from birdbone.gguf.header import tensor_types
from birdbone.gguf.runtime import BATCH
from birdbone.gguf.writer import write_gguf


@pytest.fixture(scope="module")
def exported(byte_level: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "m.gguf"
    write_gguf(path, checkpoint_of(random_model("llama")), byte_level)
    return path


@pytest.mark.parametrize("name", GRIDS)
def test_a_file_mostly_of_a_type_has_llama_cpps_number(name: str) -> None:
    spelt = (f"LLAMA_FTYPE_MOSTLY_{name}{end}" for end in ("", "_S"))
    theirs = [getattr(llama_cpp, constant) for constant in spelt if hasattr(llama_cpp, constant)]
    assert theirs == [llamacpp.FILE_TYPES.get(name)]


def test_perplexity_scores_every_token_after_the_first_of_each_window(exported: Path) -> None:
    windows = [some_tokens(40, seed=1), some_tokens(17, seed=2)]
    network = random_model("llama")
    for window, (total, count) in zip(windows, llamacpp.perplexity(exported, windows), strict=True):
        logp = torch.from_numpy(torch_logits(network, window)).double().log_softmax(-1)
        ours = -logp[:-1].gather(1, torch.tensor(window[1:])[:, None]).sum().item()
        assert count == len(window) - 1
        assert total == pytest.approx(ours, rel=1e-5)


def test_sequences_longer_than_a_batch_and_f16_caches(exported: Path) -> None:
    tokens = some_tokens(BATCH + 90)
    ours = torch_logits(random_model("llama", max_position_embeddings=1024), tokens)
    exact = mean_kl(ours, llamacpp.logits(exported, tokens))
    assert exact < 1e-9 < mean_kl(ours, llamacpp.logits(exported, tokens, kv="f16"))


def test_speed_is_in_tokens_per_second(exported: Path) -> None:
    found = llamacpp.speeds(
        {"a": exported, "b": exported}, threads=1, prompt=16, generated=4, repeats=2
    )
    assert found.keys() == {"a", "b"}
    for figures in (
        *found.values(),
        llamacpp.speed(exported, threads=1, prompt=16, generated=4, repeats=1),
    ):
        assert figures.keys() == {"decode", "prompt"}
        assert min(figures.values()) > 1


def test_peers_are_quantized_and_substitutions_reported(exported: Path, tmp_path: Path) -> None:
    assert llamacpp.quantize(exported, tmp_path / "q8.gguf", "Q8_0") == {}
    assert tensor_types(tmp_path / "q8.gguf")["blk.0.ffn_up.weight"] == "Q8_0"
    swapped = llamacpp.quantize(exported, tmp_path / "k.gguf", "Q4_K_M")
    assert swapped["blk.0.attn_q.weight"] == ("Q4_K", "Q5_0")
    found = tensor_types(tmp_path / "k.gguf")
    assert all(found[name] == written for name, (_, written) in swapped.items())
    assert {p.name for p in tmp_path.iterdir()} == {"q8.gguf", "k.gguf"}
    with pytest.raises(ExportError, match="Q3_X"):
        llamacpp.quantize(exported, tmp_path / "x.gguf", "Q3_X")


def test_a_refused_file_is_an_error_with_llama_cpps_reason(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    (tmp_path / "bad.gguf").write_bytes(
        data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight")
    )
    with pytest.raises(ExportError, match=r"bad\.gguf[\s\S]*blk\.1\.ffn_up\.weight"):
        llamacpp.logits(tmp_path / "bad.gguf", [1, 2])


def test_a_file_that_crashes_llama_cpp_is_an_error_too(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    assert data.count(b"[PAD510]") == 1
    (tmp_path / "twins.gguf").write_bytes(data.replace(b"[PAD510]", b"[PAD511]"))
    with pytest.raises(ExportError, match=r"twins\.gguf[\s\S]*GGML_ASSERT"):
        llamacpp.tokenize(tmp_path / "twins.gguf", ["text"])


def test_reading_past_the_context_ends_llama_cpps_process_and_not_ours(
    byte_level: Path, tmp_path: Path
) -> None:
    """GPT-2 has no positions past its context: llama.cpp aborts."""
    path = tmp_path / "short.gguf"
    write_gguf(path, checkpoint_of(random_model("gpt2", n_positions=48)), byte_level)
    with pytest.raises(
        ExportError,
        match=r"llama.cpp died of .*short\.gguf \(logits, signal SIGABRT\)[\s\S]*GGML_ASSERT",
    ):
        llamacpp.logits(path, some_tokens(64))


def test_speed_is_measured_within_the_shortest_context(
    exported: Path, byte_level: Path, tmp_path: Path
) -> None:
    path = tmp_path / "short.gguf"
    write_gguf(path, checkpoint_of(random_model("gpt2", n_positions=48)), byte_level)
    found = llamacpp.speeds({"short": path, "long": exported}, threads=1, generated=30, repeats=1)
    assert min(rate for figures in found.values() for rate in figures.values()) > 1


def test_an_illegal_instruction_is_tried_again_without_repacking(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, answered = [], child._results

    def dies_of_repacking(request: dict):
        wanted.append(request["repack"])
        if request["repack"]:
            raise child._Died(-signal.SIGILL, "")
        return answered(request)

    monkeypatch.setattr(child, "_cpu", {"repack": True})
    monkeypatch.setattr(child, "_results", dies_of_repacking)
    assert llamacpp.logits(exported, [1, 2]).shape == (2, 512)
    assert wanted == [True, False]


def test_a_truncated_file_never_reaches_llama_cpp(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(exported.read_bytes()[:-4096])
    with pytest.raises(ArtifactError, match=r"cut\.gguf"):
        llamacpp.speed(tmp_path / "cut.gguf")


def test_an_impossible_token_is_an_error(exported: Path) -> None:
    with pytest.raises(ExportError, match="fails to run"):
        llamacpp.logits(exported, [1, 10_000])


def test_llama_cpp_keeps_quiet(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    llamacpp.logits(exported, [1, 2, 3])
    assert capfd.readouterr() == ("", "")
