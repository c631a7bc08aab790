"""What git-theta 0.2.0 takes to hold, give back and go back from a changed model; JSON lines, one a
step.

``git_theta.py OLD NEW PLACE``, by the python of an environment with git-theta and safetensors,
git-lfs on the PATH. OLD and NEW are safetensors files, PLACE a folder for the repository and for
what git-theta writes into a home. ``write`` is `git add` and `git commit` of NEW over a committed
OLD, ``revert`` and ``apply`` are checkouts of the one and the other. bytes: what the repository
grew by. peak: of the largest process. Stops where a checkout is not exact.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file

FILE = "model.safetensors"


def main(old: Path, new: Path, place: Path) -> None:
    home, repository = place / "home", place / "repository"
    home.mkdir(parents=True)
    repository.mkdir()
    names = {
        f"GIT_{who}_{what}": "bench"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    fresh = {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_THETA_CHECKPOINT_TYPE": "safetensors",
        "PATH": tools,
    }

    def git(*arguments: str) -> None:
        environment = {**os.environ, **names, **fresh}
        subprocess.run(
            ["git", *arguments], cwd=repository, env=environment, check=True, capture_output=True
        )

    for line in (("init", "-q"), ("lfs", "install", "--local"), ("theta", "install")):
        git(*line)
    shutil.copyfile(old, repository / FILE)
    for line in (("theta", "track", FILE), ("add", "."), ("commit", "-qm", "old"), ("tag", "old")):
        git(*line)
    before = _size(repository)
    shutil.copyfile(new, repository / FILE)
    _step("write", lambda: (git("add", FILE), git("commit", "-qm", "new")), repository, before)
    git("tag", "new")
    for step, tag, model in (("revert", "old", old), ("apply", "new", new)):
        _step(step, lambda tag=tag: git("checkout", "-q", tag), repository, before)
        _same(load_file(repository / FILE), load_file(model))


def _step(name: str, do, repository: Path, before: int) -> None:
    start, busy = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    do()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - busy.ru_utime - busy.ru_stime
    figures = {"seconds": time.perf_counter() - start, "cpu": cpu, "peak": 1024 * used.ru_maxrss}
    print(json.dumps({"step": name, **figures, "bytes": _size(repository) - before}), flush=True)


def _size(repository: Path) -> int:
    return sum(p.stat().st_size for p in (repository / ".git").rglob("*") if p.is_file())


def _same(found: dict, wanted: dict) -> None:
    exact = all(
        found[n].numpy().tobytes() == t.numpy().tobytes() for n, t in wanted.items() if n in found
    )
    if found.keys() != wanted.keys() or not exact:
        raise SystemExit("git-theta gave another model back")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
