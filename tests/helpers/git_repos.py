"""Throw-away git repositories, and what a run of the project leaves in one: dvc.lock and
bundles.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from birdbone.cli.bundle import stage
from birdbone.datasets.atomic import signed

PEOPLE = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
OFFLINE = {
    name: "http://127.0.0.1:9"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
}
OLD, NEW, OTHER = ("1" * 32 + ".dir", "2" * 32 + ".dir", "3" * 32 + ".dir")
ACCEPTED = "models/default/wave_2/accepted"


@dataclass
class Repo:
    """A git repository in a folder of its own."""

    root: Path

    def run(self, *line: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command there, away from any repository, hook or settings around the tests."""
        clean = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("GIT_", "PRE_COMMIT", "KEDRO_ENV"))
        }
        given = {**clean, **PEOPLE, "KEDRO_DISABLE_TELEMETRY": "1", **env}
        return subprocess.run(
            line, cwd=self.root, env=given, capture_output=True, text=True, timeout=120
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, name: str, content: str | bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def stage(self, name: str, content: str | bytes) -> str:
        self.git("add", "-f", self.write(name, content))
        return name

    def commit(self, message: str = "a change") -> str:
        """Commit what is staged and return the commit's id; no hook is asked."""
        self.git("commit", "-q", "--no-verify", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()


def new_repo(root: Path) -> Repo:
    root.mkdir(parents=True, exist_ok=True)
    repo = Repo(root)
    repo.git("init", "-q", "-b", "main")
    return repo


def hooked_git(repo: Repo, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A git command that may call the hooks, which find no network."""
    return repo.run(
        "git", *arguments, PRE_COMMIT_HOME=str(repo.root / ".git/pre-commit"), **OFFLINE, **env
    )


def lock(accepted: str = OLD, **outs: str) -> str:
    """A dvc.lock: the seed, two waves' accepted models, the second of which is ``accepted``, and a
    report.
    """
    found = {
        "models/default/seed": "a" * 32 + ".dir",
        "models/default/wave_1/accepted": "b" * 32 + ".dir",
        ACCEPTED: accepted,
        "data/08_reporting/report.html": "c" * 32,
        **outs,
    }
    stages = {
        f"stage-{i}": {"outs": [{"path": path, "md5": md5}]}
        for i, (path, md5) in enumerate(found.items())
    }
    return yaml.safe_dump({"schema": "2.0", "stages": stages})


def run_lock(waves: int, *changed: int) -> str:
    """A dvc.lock as `dvc repro` writes it after a run of so many waves, those in ``changed`` done
    another way.

    A stage reads what the one before it made, and makes another model where it or one before it was
    changed.
    """
    stages, state = (
        {"seed-load": {"cmd": "seed", "outs": [_held("models/default/seed", "a" * 32)]}},
        "a" * 32,
    )
    path = "models/default/seed"
    for wave in range(1, waves + 1):
        read, path = _held(path, state), f"models/default/wave_{wave}/accepted"
        params = {"conf/base/parameters.yml": {"step": 0.2 if wave in changed else 0.1}}
        state = hashlib.md5(f"{wave} {params} {state}".encode()).hexdigest()
        stages[f"wave_{wave}-guard"] = {
            "cmd": "wave",
            "deps": [read],
            "params": params,
            "outs": [_held(path, state)],
        }
    return yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)


def model_of(lock: str) -> str:
    """The hash of the accepted model in a lock."""
    return list(yaml.safe_load(lock)["stages"].values())[-1]["outs"][0]["md5"]


def _held(path: str, state: str) -> dict:
    return {"path": path, "hash": "md5", "md5": f"{state}.dir", "size": 1, "nfiles": 3}


def manifest(name: str, new: str, old: str | None = OLD) -> str:
    """A bundle's manifest as `birdbone bundle` writes it, in what the hooks read."""
    return signed(
        {"id": name, "core": {}, "tracked": {"path": ACCEPTED, "old": old, "new": new}, "files": {}}
    )


def add_bundle(repo: Repo, name: str, new: str = NEW, verdict: str = "accepted") -> None:
    """Stage a bundle for the model ``new``."""
    repo.stage(f"diffs/{name}/manifest.json", manifest(name, new))
    repo.stage(f"diffs/{name}/report.md", f"# Bundle {name}\n")
    metrics = {"verdict": verdict, "worst_domain": "code", "worst_change": 0.05, "limit": 0.03}
    repo.stage(f"diffs/{name}/metrics.json", json.dumps(metrics))


SMALL_FILES = ("report.md", "manifest.json", "metrics.json")


def staged_bundle(repo: Repo, masks: int) -> Path:
    """A bundle whose masks.patch has so many bytes, staged."""
    folder = repo.root / "diffs/aaaaaaaaaaaa"
    for name, size in {
        **dict.fromkeys(SMALL_FILES, 10),
        "weights.patch": 20,
        "masks.patch": masks,
    }.items():
        repo.write(f"diffs/aaaaaaaaaaaa/{name}", bytes([size % 251]) * size)
    stage(repo.root, folder)
    return folder
