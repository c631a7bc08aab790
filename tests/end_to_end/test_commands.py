"""The commands a user has, on the real pipeline, after one whole run."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from places import ROOT
from warm_commands import start
from workspace import Workspace

WAVE_1 = {f"wave_1.{step}" for step in ("prune", "heal", "regrow", "guard", "trace", "report")}


def test_a_run_prints_its_waves_a_summary_and_where_the_results_are(undisturbed: Workspace) -> None:
    printed = (undisturbed.root / "printed.txt").read_text()
    after_first, after_second = printed.split("wave    asked")[1:3]
    assert re.search(r"^ +1 +10\.00", after_first, re.MULTILINE)
    assert not re.search(r"^ +2 +10\.00", after_first, re.MULTILINE)
    assert re.search(r"^ +2 +10\.00", after_second, re.MULTILINE)
    assert "neurons and 0 key-value groups removed" in printed
    assert "files, by llama.cpp" in printed
    for name in (
        "data/quick/08_reporting/report.html",
        "models/quick/export/gguf",
        "models/quick/export/transformers",
    ):
        assert str(undisturbed.root / name) in printed
        assert (undisturbed.root / name).exists()


def test_the_report_opens_without_a_network(undisturbed: Workspace) -> None:
    page = (undisturbed.root / "data/quick/08_reporting/report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"""@import|url\(\s*["']?(?:https?:)?//""", page)
    assert str(undisturbed.root) not in page


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["--pipelines=wave_1"], set()),
        (
            ["--pipelines=wave_1", "--params=micro_heal.learning_rate=0.001"],
            WAVE_1 - {"wave_1.prune"},
        ),
        (
            ["--from-nodes=wave_2.guard", "--to-nodes=wave_2.guard", "--params=max_loss=0.4"],
            {"wave_2.guard"},
        ),
        (["--tags=regrow", "--params=regrow.epsilon=0.03"], {"wave_1.regrow", "wave_2.regrow"}),
    ],
)
def test_a_part_is_run_and_what_did_not_change_is_kept(
    finished: Workspace, arguments: list[str], ran: set
) -> None:
    run = finished.run("kedro", "run", "--env=quick", *arguments)
    assert run.code == 0, run.stderr
    assert running(run.stderr) == ran


def test_only_missing_outputs_are_made_again(finished: Workspace) -> None:
    (finished.root / "models/quick/export/gguf/manifest.json").unlink()
    run = finished.run("kedro", "run", "--env=quick", "--only-missing-outputs")
    assert run.code == 0, run.stderr
    assert running(run.stderr) == {"export.gguf"}
    assert (finished.root / "models/quick/export/gguf/manifest.json").is_file()


def test_a_higher_target_reruns_the_waves_and_nothing_before_them(finished: Workspace) -> None:
    run = finished.run(
        "kedro", "run", "--env=quick", "--params=target_sparsity=0.04", "--to-nodes=wave_2.guard"
    )
    assert run.code == 0, run.stderr
    assert "topology.cluster: unchanged, kept" in run.stderr
    assert "wave_1.prune" in running(run.stderr)
    assert finished.json("quick", "wave_1/prune")["target_sparsity"] == 0.04
    assert finished.json("quick", "wave_2/verdict")["sparsity"] <= 0.04


def test_kedro_lists_every_pipeline_and_dataset(undisturbed: Workspace) -> None:
    registry = undisturbed.run("kedro", "registry", "list")
    assert registry.code == 0, registry.stderr
    assert {"growth_prune_heal", "__default__", "prune_wave", "wave_1", "wave_2", "quantize"} <= {
        line.removeprefix("- ") for line in registry.stdout.splitlines()
    }
    catalog = undisturbed.run(
        "kedro", "catalog", "describe-datasets", "--env=quick", "--pipeline=wave_2"
    )
    assert catalog.code == 0, catalog.stderr
    listed = yaml.safe_load(catalog.stdout)
    assert "wave_2.healed" in json.dumps(listed)
    assert "MemoryDataset" not in json.dumps(listed)


def test_plan_says_what_a_run_will_take_without_doing_it(workspace: Workspace) -> None:
    plan = workspace.run(
        "birdbone", "plan", "--env=quick", "--params=target_sparsity=0.9", "--json"
    )
    assert plan.code == 0, plan.stderr
    found = json.loads(plan.stdout)
    assert any("unreachable" in warning for warning in found["warnings"])
    assert 0 < found["export_bytes"][0] < found["export_bytes"][1] < found["f16_bytes"]
    assert workspace.made() == set()
    shown = workspace.run("birdbone", "plan", "--env=quick")
    assert "data/quick/08_reporting/report.html" in " ".join(shown.stdout.split())


def test_verify_finds_what_was_changed(finished: Workspace) -> None:
    whole = finished.run("birdbone", "verify", "--env=quick")
    assert whole.code == 0, whole.stderr
    assert "DAMAGED" not in whole.stdout
    path = finished.root / "models/quick/wave_1/healed/masks.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x5a")
    damaged = finished.run("birdbone", "verify", "--env=quick")
    assert damaged.code == 1
    assert "DAMAGED  wave_1.healed" in damaged.stdout
    assert "wave_1.healed" in damaged.stderr
    assert "Traceback" not in damaged.stderr


def test_summary_is_that_of_the_last_run(undisturbed: Workspace, workspace: Workspace) -> None:
    shown = undisturbed.run("birdbone", "summary", "--env=quick")
    assert shown.code == 0, shown.stderr
    assert shown.stdout.strip()
    assert shown.stdout.strip() in (undisturbed.root / "printed.txt").read_text()
    none = workspace.run("birdbone", "summary", "--env=quick")
    assert none.code == 1
    assert "kedro run --env=quick" in none.stderr


def test_the_checked_in_dvc_yaml_is_up_to_date() -> None:
    check = start(ROOT, "birdbone", "dvc", "--check").wait()
    assert check.code == 0, check.stderr
    assert check.stdout == "dvc.yaml is up to date\n"


@pytest.mark.parametrize("command", [[], ["plan"], ["verify"], ["summary"], ["dvc"]])
def test_every_command_explains_itself(workspace: Workspace, command: list[str]) -> None:
    shown = workspace.run("birdbone", *command, "--help")
    assert shown.code == 0
    assert shown.stdout.startswith(f"Usage: {' '.join(['birdbone', *command])}")
    assert len(shown.stdout.splitlines()) > 5


def running(log: str) -> set[str]:
    return set(re.findall(r"(\S+): running \(", log))


@pytest.fixture
def mine(finished: Workspace) -> str:
    """Parameters that name a benchmark task in a local file."""
    questions = [
        {"query": "Question: what is blue?", "choices": ["the sky", "grass"], "gold": i % 2}
        for i in range(4)
    ]
    (finished.root / "arc.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    return "evaluate.files.mine.form=arc,evaluate.files.mine.test=arc.jsonl,evaluate.limit=3"


def test_benchmark_tasks_in_local_files_are_measured_on_seed_and_export(
    finished: Workspace, mine: str
) -> None:
    run = finished.run(
        "kedro",
        "run",
        "--env=quick",
        "--pipelines=evaluate",
        f"--params={mine}",
        HF_HUB_OFFLINE="1",
    )
    assert run.code == 0, run.stderr
    for subject in ("seed", "export"):
        figures = finished.json("quick", f"evaluation/{subject}")["mine"]
        assert figures["samples"] == 3 and 0 <= figures["acc"] <= 1 and figures["acc_stderr"] >= 0
        assert re.search(rf"{subject} on mine: acc [01]\.\d+ .*3 questions", run.stderr)


def test_the_guard_watches_a_task(finished: Workspace, mine: str) -> None:
    asked = ["--to-nodes=wave_1.guard", f"--params={mine},guard.tasks.mine=0.99"]
    run = finished.run("kedro", "run", "--env=quick", *asked, HF_HUB_OFFLINE="1")
    assert run.code == 0, run.stderr
    assert running(run.stderr) == {"seed.tasks", "wave_1.guard"}
    verdict = finished.json("quick", "wave_1/verdict")
    assert verdict["tasks"]["mine"]["samples"] == 3 and verdict["tasks_lost"] == {}


def test_evaluating_nothing_is_said(finished: Workspace) -> None:
    run = finished.run("kedro", "run", "--env=quick", "--pipelines=evaluate")
    assert run.code != 0 and "evaluate.tasks and evaluate.files are both empty" in run.stderr
