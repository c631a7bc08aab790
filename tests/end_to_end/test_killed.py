"""``kill -9`` of the real pipeline, the same command again: the same weights, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from workspace import QUICK, Workspace

from birdbone.model.healing.heal import FULL_RATE_LOSS

RUN = ("kedro", "run", "--env=quick")
STEPS = QUICK["micro_heal"]["steps"]


def test_killed_inside_a_heal_it_goes_on_at_the_last_step(
    workspace: Workspace, undisturbed: Workspace
) -> None:
    log = workspace.kill_when(lambda: checkpoints(workspace, "wave_2.heal"), *RUN)
    assert "wave_2.heal: running" in log
    assert "wave_2.heal: done" not in log
    done = healed_steps(checkpoints(workspace, "wave_2.heal")[0])
    assert 1 <= done < STEPS
    again = workspace.run(*RUN)
    assert again.code == 0, again.stderr
    for node in ("seed.load", "sps_scan.scan", "wave_1.heal", "wave_1.guard", "wave_2.prune"):
        assert f"{node}: unchanged, kept" in again.stderr
    assert f"wave 2: heal: goes on after step {done} of {STEPS}" in again.stderr
    assert digests(workspace) == digests(undisturbed)
    assert [row["step"] for row in workspace.json("quick", "wave_2/heal")["curve"]] == list(
        range(STEPS)
    )


@pytest.mark.parametrize("node", ["seed.load", "quantize.round"])
def test_killed_elsewhere_it_ends_the_same(
    workspace: Workspace, undisturbed: Workspace, node: str
) -> None:
    scratch = workspace.root / ".birdbone/data-quick/work" / node
    log = workspace.kill_when(scratch.is_dir, *RUN)
    assert f"{node}: done" not in log
    again = workspace.run(*RUN)
    assert again.code == 0, again.stderr
    assert f"{node}: running" in again.stderr
    assert again.stderr.count("unchanged, kept") == log.count(": done in")
    assert digests(workspace) == digests(undisturbed)
    assert not [name for name in workspace.made() if ".tmp-" in name]


def test_a_killed_heal_is_not_continued_under_other_parameters(
    workspace: Workspace, undisturbed: Workspace
) -> None:
    workspace.kill_when(lambda: checkpoints(workspace, "wave_1.heal"), *RUN)
    again = workspace.run(*RUN, "--params=micro_heal.learning_rate=0.001", "--to-nodes=wave_1.heal")
    assert again.code == 0, again.stderr
    assert "wave_1.prune: unchanged, kept" in again.stderr
    assert "goes on after step" not in again.stderr
    report = workspace.json("quick", "wave_1/heal")
    rates, (_, loss) = [row["lr"] for row in report["curve"]], report["checks"][0]
    assert len(rates) == STEPS
    assert max(rates) == pytest.approx(0.001 * min(1, (loss / FULL_RATE_LOSS) ** 0.5))
    back = workspace.run(*RUN)
    assert back.code == 0, back.stderr
    assert "wave_1.heal: running" in back.stderr
    assert digests(workspace) == digests(undisturbed)


def test_the_same_command_again_computes_nothing(finished: Workspace) -> None:
    before = digests(finished)
    again = finished.run(*RUN)
    assert again.code == 0, again.stderr
    assert f"0 nodes run, {len(finished.nodes('quick'))} kept" in again.stderr
    assert digests(finished) == before


def checkpoints(workspace: Workspace, node: str) -> list[Path]:
    """What a heal under way, or killed, has saved."""
    return list((workspace.root / ".birdbone/data-quick/work" / node).glob("*/heal.safetensors"))


def healed_steps(checkpoint: Path) -> int:
    with safe_open(checkpoint, "pt") as file:
        return len(json.loads(file.metadata()["curve"]))


def digests(workspace: Workspace) -> dict[str, str]:
    """What the accepted model and the rounded tensors are, by their manifests."""
    places = {"accepted": "wave_2/accepted", "quantized": "quantized", "gguf": "export/gguf"}
    manifests = {
        name: json.loads((workspace.root / "models/quick" / place / "manifest.json").read_text())
        for name, place in places.items()
    }
    return {name: found.get("digest") or found["files"] for name, found in manifests.items()}
