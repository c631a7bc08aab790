"""What goes wrong for a user: exit code 1, one message that names the fault and the way out,
nothing half-written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from downloads import save_model
from safetensors.torch import load_file, save_file
from warm_commands import Command
from workspace import Workspace


def refused(run: Command, *wanted: str) -> None:
    """One message with all these words, and no traceback."""
    assert run.code == 1, run.stderr
    (message,) = (line for line in run.stderr.split("birdbone: ")[1:])
    assert run.stderr.count(message.strip()) == 1, run.stderr
    for words in wanted:
        assert words in message
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ("target_sparsity=1.7", ["target_sparsity", "less than 1", "1.7"]),
        ("max_loss=3", ["max_loss", "0.03 for 3 %", "target_bytes"]),
        ("target_sparsity=much", ["target_sparsity", "valid number", "much"]),
        ("waves=0", ["waves", "greater than or equal to 1", "0"]),
        ("prune_wave.multiple=48", ["prune_wave", "multiple of 32"]),
        ("targt_sparsity=0.1", ["targt_sparsity", "no such parameter", "conf/base"]),
        ("quantize.types=Q4_0", ["quantize.types", "list"]),
        ("text.guard_domains=code", ["text.guard_domains", "list"]),
        ("model=smollm3", ["smollm3", "preset", "smollm2", "folder with config.json", ".gguf"]),
        ("model=gone.gguf", ["gone.gguf", "no such GGUF file"]),
        ("text.source=novels", ["novels", "wikipedia", "folder of .txt"]),
        ("text.canaries=mine.yml", ["mine.yml", "No such file"]),
        ("device=cuda", ["device", "no CUDA"]),
        ("report.peers=[Q4_K]", ["report.peers", "Q4_K_M"]),
        ("text.window=512", ["text.window", "256 positions"]),
    ],
)
def test_a_wrong_setting_is_named(workspace: Workspace, params: str, wanted: list[str]) -> None:
    refused(workspace.run("kedro", "run", "--env=quick", f"--params={params}"), *wanted)
    assert workspace.made() == set()


def test_an_unknown_profile_is_named(workspace: Workspace) -> None:
    refused(workspace.run("kedro", "run", "--env=tniy"), "tniy", "tiny", "full")


def without_config(folder: Path) -> list[str]:
    (folder / "config.json").unlink()
    return ["config.json"]


def of_another_family(folder: Path) -> list[str]:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bloom"}))
    return ["bloom", "src/birdbone/model/families/bloom.yml"]


def pickled(folder: Path) -> list[str]:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return ["pytorch_model.bin", "pickle", "safetensors"]


def truncated(folder: Path) -> list[str]:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return ["model.safetensors", "truncated or corrupted"]


def with_a_bad_header(folder: Path) -> list[str]:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[0:8] = b"\xff" * 8
    path.write_bytes(content)
    return ["model.safetensors", "truncated or corrupted"]


def with_nan(folder: Path) -> list[str]:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return ["model.layers.1.mlp.up_proj.weight", "NaN"]


def without_a_tensor(folder: Path) -> list[str]:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return ["model.layers.1.mlp.up_proj.weight", "llama lacks 1 tensors", "incomplete"]


def without_a_tokenizer(folder: Path) -> list[str]:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    return ["tokenizer"]


@pytest.mark.parametrize(
    "damage",
    [
        without_config,
        of_another_family,
        pickled,
        truncated,
        with_a_bad_header,
        with_nan,
        without_a_tensor,
        without_a_tokenizer,
    ],
)
def test_a_bad_model_folder_is_refused(workspace: Workspace, damage) -> None:
    wanted = damage(save_model("llama", workspace.root / "llama"))
    refused(workspace.run("kedro", "run", "--env=quick", "--params=model=llama"), *wanted)
    assert workspace.made() == set()


@pytest.mark.parametrize("damage", ["cut in half", "other bytes", "a wild length"])
def test_a_bad_gguf_file_is_refused(
    undisturbed: Workspace, workspace: Workspace, damage: str
) -> None:
    content = bytearray((undisturbed.root / "models/quick/export/gguf/model.gguf").read_bytes())
    if damage == "cut in half":
        content = content[: len(content) // 2]
    elif damage == "other bytes":
        content[:4] = b"PK\x03\x04"
    else:
        content[8:16] = (2**60).to_bytes(8, "little")
    (workspace.root / "bad.gguf").write_bytes(content)
    run = workspace.run("kedro", "run", "--env=quick", "--params=model=bad.gguf")
    refused(run, "bad.gguf", "truncated or corrupted")
    assert workspace.made() == set()


def test_a_pattern_that_does_not_divide_is_refused(finished: Workspace) -> None:
    path = finished.root / "conf/quick/parameters.yml"
    tree = yaml.safe_load(path.read_text())
    tree["prune_wave"]["weights"] = {"method": "magnitude", "pattern": [2, 5]}
    path.write_text(yaml.safe_dump(tree))
    before = finished.made()
    refused(
        finished.run("kedro", "run", "--env=quick"),
        "prune_wave.weights.pattern",
        "5 does not divide",
        "64",
    )
    assert finished.made() == before


@pytest.mark.parametrize("part", ["calibration", "heal", "guard"])
def test_too_little_text_is_refused(finished: Workspace, part: str) -> None:
    before = finished.made()
    run = finished.run("kedro", "run", "--env=quick", f"--params=text.{part}_tokens=9000000")
    refused(run, f"text too short for {part}", "asked", "there", f"text.{part}_tokens")
    assert finished.made() == before


@pytest.mark.parametrize("file_limit", [20_000, 300_000])
def test_a_full_disk_is_said_and_leaves_nothing_half_written(
    workspace: Workspace, file_limit: int
) -> None:
    run = workspace.run("kedro", "run", "--env=quick", file_limit=file_limit)
    refused(run, "no space left to write", "models/quick", "free some disk")
    assert not [name for name in workspace.made() if ".tmp-" in name]
    assert not (workspace.root / "models/quick/seed").exists()


@pytest.mark.parametrize(
    ("artifact", "stage"),
    [
        ("models/quick/wave_1/model/model.safetensors", "wave_2.prune"),
        ("models/quick/quantized/tensors.safetensors", "export.gguf"),
        ("models/quick/tokenizer/tokenizer.json", "export.folder"),
        ("models/quick/export/gguf/model.gguf", "export.referee"),
        ("data/quick/08_reporting/wave_1/verdict.json", "wave_2.prune"),
        ("data/quick/04_feature/node_scores/tensors.safetensors", "wave_1.prune"),
    ],
)
def test_one_flipped_byte_is_caught_when_the_artifact_is_read(
    finished: Workspace, artifact: str, stage: str
) -> None:
    path = finished.root / artifact
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)
    before = finished.made()
    run = finished.run("kedro", "run", "--env=quick", f"--nodes={stage}")
    refused(run, artifact, "run again")
    assert finished.made() == before
