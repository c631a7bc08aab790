"""Children die with their parents."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_the_child_of_a_killed_repro_dies_with_it(tracked, shell):
    (tracked.root / "hold").touch()
    tracked.edit("conf/base/parameters_report.yml", "final", "last")
    run = subprocess.Popen(
        ["dvc", "repro", "-q"], cwd=tracked.root, env=tracked.environment(SHELL=shell)
    )
    deadline = time.monotonic() + 60
    while "report" not in tracked.calls():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int((tracked.root / ".birdbone/data/lock").read_text())
    run.kill()
    run.wait()
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not Path(tracked.root / "data/08_reporting/final.json").exists()
