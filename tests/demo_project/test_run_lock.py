"""One run at a time per profile; other commands and other profiles are not held up."""

import subprocess
import sys
import time

import pytest


@pytest.fixture
def held(demo):
    """A run that waits inside its last node for the file ``hold`` to go away."""
    (demo.root / "hold").touch()
    run = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run"],
        cwd=demo.root,
        env=demo.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while "report" not in demo.calls():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield demo, run
    (demo.root / "hold").unlink(missing_ok=True)
    run.kill()
    run.wait()


def test_a_second_run_is_refused_with_the_others_pid_and_touches_nothing(held):
    demo, run = held
    before = demo.results()
    second = demo.kedro("run", "--params=random_seed=8")
    assert second.returncode == 1
    assert f"another run is going on (pid {run.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert demo.results() == before
    assert demo.kedro("registry", "list").returncode == 0

    run.kill()
    run.wait()
    (demo.root / "hold").unlink()
    assert demo.kedro("run").returncode == 0
