"""Every family, from a folder one could have downloaded to files that stock runtimes load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from downloads import corpus, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from workspace import LIGHT, Workspace

from birdbone.datasets.folders import ModelFolder, TensorFolder
from birdbone.gguf.header import read_gguf_header
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.family import families, family_of
from birdbone.model.network import build

ONE_WAVE = {
    "waves": 1,
    "max_loss": 0.9,
    "prune_wave": {"step": 0.08},
    "export": {"dtype": "float32"},
    "text": {"canaries": "canaries.yml", "source": "reference", "guard_domains": ["code"]},
}
UNEVEN = {"prune_wave": {"step": 0.05}}
"""Room for one chunk of 32 neurons: one of the two layers loses it."""


def own_text(folder: Path) -> str:
    folder.mkdir()
    for number, page in enumerate(corpus()):
        (folder / f"page {number}.txt").write_text(page)
    return str(folder)


def chats(path: Path) -> str:
    talks = [
        [{"role": "user", "content": page[:60]}, {"role": "assistant", "content": page}]
        for page in corpus()
    ]
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    return str(path)


@pytest.mark.parametrize("family", sorted(families()))
def test_a_family_goes_through_the_whole_pipeline(workspace: Workspace, family: str) -> None:
    form = family_of({"model_type": family}).gguf
    shard_size = "200KB" if family == "qwen3" else None
    # Not by the family's name: where a model is called phi3, llama.cpp asks for Phi-3's own tokens.
    model = save_model(family, workspace.root / "downloaded", shard_size)
    source = {}
    if family == "mistral":
        source = {"text": {"source": own_text(workspace.root / "text")}}
    if family == "qwen2":
        source = {"text": {"source": chats(workspace.root / "chats.jsonl"), "chat": True}}
    assert len(list(model.glob("*.safetensors"))) > 1 if shard_size else True
    workspace.profile("own", LIGHT, ONE_WAVE, UNEVEN if form.uneven else {}, source)
    workspace.session("own", model=str(model))

    accepted = check(workspace, family)
    widths = [accepted.count("ffn", i) for i in range(2)]
    removed = workspace.json("own", "wave_1/prune")
    if form.uneven:
        assert sorted(widths) == [352, 384]
        assert "fallback" not in removed
    else:
        assert widths == [352, 352]
        assert "widths stay even" in removed["fallback"]
    assert exported(workspace, accepted)["general.architecture"] == (form.uneven or form.arch)


@pytest.mark.parametrize(
    ("family", "setting", "context"),
    [("gpt2", {"n_positions": 64}, 64), ("mistral", {"sliding_window": 32}, 32)],
)
def test_a_context_no_longer_than_the_windows_goes_through(
    workspace: Workspace, family: str, setting: dict, context: int
) -> None:
    """The referee, the speeds and the report's files read as far as the file is the model."""
    workspace.profile("own", LIGHT, ONE_WAVE)
    workspace.session("own", model=str(save_model(family, workspace.root / family, **setting)))
    referee = workspace.json("own", "referee")
    assert referee["context"] == referee["exact"]["tokens"] == context
    assert referee["exact"]["kl"] < KL.get(family, 1e-7) and abs(referee["difference"]) < 0.01


def test_an_export_is_a_source_again(workspace: Workspace) -> None:
    """The GGUF of one run, at even widths, is the seed of the next."""
    model = save_model("llama", workspace.root / "llama")
    workspace.profile("own", LIGHT, ONE_WAVE, {"widths": "even"})
    workspace.session("own", model=str(model))
    check(workspace)
    first = workspace.root / "first.gguf"
    first.write_bytes((workspace.root / "models/own/export/gguf/model.gguf").read_bytes())
    workspace.session("own", model=str(first))
    assert check(workspace).counts("ffn") == [320, 320]
    about = workspace.json("own", "seed_about")
    assert about["kind"] == "gguf"
    assert about["source_bytes"] == first.stat().st_size
    sizes = {
        file["role"]: file["bytes"]
        for file in workspace.json("own", "files").values()
        if isinstance(file, dict)
    }
    assert sizes["source"] == first.stat().st_size


KL = {"gemma4_text": 1e-5}
"""llama.cpp looks Gemma 4's GELU up in a table of 16-bit floats. The other families: 1e-7."""


def check(workspace: Workspace, family: str = "") -> Checkpoint:
    """What every finished run owes, whatever the family. Returns the accepted checkpoint."""
    models = workspace.root / "models/own"
    accepted = ModelFolder(str(models / "wave_1/accepted")).load()
    verdict, removed = (workspace.json("own", f"wave_1/{name}") for name in ("verdict", "prune"))
    assert verdict["status"] == "accepted"
    assert verdict["worst_change"] <= verdict["limit"]
    assert sum(removed["removed"]["ffn"].values()) > 0
    assert verdict["ffn_widths"] == [accepted.count("ffn", i) for i in range(2)]

    referee = workspace.json("own", "referee")
    assert referee["exact"]["tokens"] == 128
    assert referee["exact"]["kl"] < KL.get(family, 1e-7)
    assert referee["exact"]["top1_clear"] == 1
    assert referee["exact"]["clear"] > 50
    assert abs(referee["difference"]) < 0.01

    same_logits(models / "export/transformers", accepted)
    assert (workspace.root / "data/own/08_reporting/report.html").is_file()
    assert "colours" in json.dumps(workspace.json("own", "final_metrics")["canaries"])
    return accepted


@torch.no_grad()
def same_logits(folder: Path, accepted: Checkpoint) -> None:
    """Stock transformers computes from the exported folder what the accepted checkpoint
    computes.
    """
    stock, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = tokenizer(corpus()[0][:400], return_tensors="pt").input_ids
    ours, theirs = build(accepted)(ids).logits, stock(ids).logits
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-4 * ours.abs().max()


def exported(workspace: Workspace, accepted: Checkpoint) -> dict:
    """The exported GGUF's keys, its matrices having the types that the rounding chose."""
    models = workspace.root / "models/own"
    header = read_gguf_header(models / "export/gguf/model.gguf")
    _, planned = TensorFolder(str(models / "quantized")).load()
    stored = [t.type for t in header.tensors.values() if len(t.shape) == 2 and t.type != "F32"]
    arch = header.metadata["general.architecture"]
    names = accepted.layout.family.gguf.names(arch).values()
    joined = accepted.layers * (len(names) - len(set(names)))
    assert len(stored) == len(planned["types"]) - joined
    assert set(stored) == set(planned["types"].values())
    assert workspace.json("own", "quantize")["counts"] == {
        kind: list(planned["types"].values()).count(kind)
        for kind in sorted(set(planned["types"].values()))
    }
    return header.metadata
