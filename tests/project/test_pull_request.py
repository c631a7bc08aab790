"""The workflow is thin and well-formed, and does what `make pr-report` does."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from places import ROOT

WORKFLOW = ROOT / ".github/workflows/review.yml"
CHECKS = ROOT / ".github/workflows/test.yml"


def test_the_workflow_runs_the_make_target_on_pull_requests_and_lets_it_fail() -> None:
    # YAML 1.1 reads the key `on` as true.
    found = yaml.safe_load(WORKFLOW.read_text())
    assert found[True] == "pull_request"
    assert found["permissions"] == {"contents": "read"}
    steps = found["jobs"]["review"]["steps"]
    python = [
        step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")
    ]
    assert python == ["3.11"]
    last = steps[-1]
    assert "make --silent pr-report" in last["run"] and "$GITHUB_STEP_SUMMARY" in last["run"]
    assert "pipefail" in last["run"]
    assert last["env"]["BASE"] == "origin/${{ github.base_ref }}"
    assert not any("continue-on-error" in step for step in steps)


@pytest.mark.parametrize("target", ["lint", "test"])
def test_lint_and_tests_run_on_a_pull_request_with_the_packages_kept(target: str) -> None:
    workflow = yaml.safe_load(CHECKS.read_text())
    assert workflow[True] == "pull_request"
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"][target]["steps"]
    assert steps[-1] == {"run": f"make {target}"}
    kept = {"python-version": "3.11", "cache": "pip", "cache-dependency-path": "requirements.lock"}
    assert [step["with"] for step in steps if "setup-python" in step.get("uses", "")] == [kept]


def test_no_step_pastes_what_a_stranger_wrote_into_a_shell() -> None:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["review"]["steps"]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


def test_the_shell_of_every_step_parses() -> None:
    for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["review"]["steps"]:
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


def test_make_hands_the_base_to_the_gate() -> None:
    line = ["make", "--silent", "--dry-run", "--assume-old=setup", "pr-report"]
    for given, base in (([], "origin/main"), (["BASE=HEAD~3"], "HEAD~3")):
        done = subprocess.run([*line, *given], cwd=ROOT, capture_output=True, text=True, check=True)
        assert f'birdbone hook review --base "{base}"' in done.stdout


def test_the_template_asks_for_requirement_bundle_and_deltas() -> None:
    text = (ROOT / ".github/pull_request_template.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "What and why",
        "Requirement",
        "Bundle",
        "Deltas",
        "Checks",
    ]
    for asked in ("BB-", "Bundle-Id:", "bytes", "tokens per second", "perplexity"):
        assert asked in text
