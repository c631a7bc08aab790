"""The real project in a folder of its own: its configuration copied, its sources linked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from places import ROOT
from warm_commands import Command, start

from birdbone.run.outside import SOURCES

CANARIES = {"colours": [{"prompt": "The sky is", "answer": " blue", "wrong": [" seven", " never"]}]}
LIGHT = {
    "text": {
        "window": 64,
        "calibration_tokens": 512,
        "heal_tokens": 256,
        "written_share": 0.5,
        "guard_tokens": 128,
        "test_tokens": 128,
    },
    "topology": {"min_cluster": 64, "stability_resamples": 0},
    "sps_scan": {"record_tokens": 64},
    "activation_log": {"profile_tokens": 128},
    "micro_heal": {"steps": 2},
    "quantize": {"trials": 1},
    "guard": {"control": False},
    "export": {"referee_tokens": 128, "perplexity_tokens": 128, "speed_tokens": 4},
    "report": {"peers": ["Q4_0"], "prompts": ["The"], "generate_tokens": 4},
}
"""Laid over the tiny profile where a test is about the path and not about the figures."""


QUICK = {
    "target_sparsity": 0.1,
    "prune_wave": {"step": 0.05},
    "micro_heal": {"steps": 16, "checkpoint_every": 1},
    "text": {"canaries": "canaries.yml", "source": "reference", "guard_domains": ["code"]},
}
"""The profile ``quick``: the tiny model, two waves, little text, and a heal that leaves a
checkpoint at every step.
"""


@dataclass
class Workspace:
    """A folder with the project in it, and how to call commands there."""

    root: Path

    def profile(self, name: str, *trees: dict) -> None:
        """Write a profile of one's own: the tiny one with trees of parameters laid over it."""
        folder = self.root / "conf" / name
        folder.mkdir(exist_ok=True)
        tree = yaml.safe_load((ROOT / "conf/tiny/parameters.yml").read_text())
        for over in trees:
            tree = laid_over(tree, over)
        (folder / "parameters.yml").write_text(yaml.safe_dump(tree))
        (folder / "globals.yml").write_text(f"data: data/{name}\nmodels: models/{name}\n")

    def run(self, *line: str, timeout: float = 300, **options) -> Command:
        """``kedro ...`` or ``birdbone ...`` in this folder, to its end."""
        return start(self.root, *line, **options).wait(timeout)

    def kill_when(self, seen: Callable[[], object], *line: str, timeout: float = 120) -> str:
        """``kill -9`` a command as soon as ``seen()``; what it had logged until then."""
        command = start(self.root, *line)
        deadline = time.monotonic() + timeout
        while not seen():
            assert command.code is None, f"it ended before the moment to kill it:\n{command.stderr}"
            assert time.monotonic() < deadline, "the moment to kill it never came"
            time.sleep(0.002)
        os.kill(command.pid, signal.SIGKILL)
        assert command.wait().code == -signal.SIGKILL
        return command.stderr

    def json(self, profile: str, name: str) -> dict:
        """A report of the profile's last run."""
        return json.loads(
            (self.root / "data" / profile / "08_reporting" / f"{name}.json").read_text()
        )

    def session(self, profile: str, pipeline: str | None = None, **parameters: object) -> None:
        """Run a pipeline in this process. The caller has changed into the folder."""
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(self.root)
        with KedroSession.create(self.root, env=profile, runtime_params=parameters) as session:
            session.run(pipeline_names=[pipeline] if pipeline else None)

    def nodes(self, profile: str) -> list[str]:
        """The names of a whole run's nodes."""
        from kedro.framework.project import pipelines
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(self.root)
        with KedroSession.create(self.root, env=profile) as session:
            session.load_context()
            return [node.name for node in pipelines["__default__"].nodes]

    def made(self) -> set[str]:
        """Every file below data/ and models/, but what says what the parameters name."""
        files = (
            p for name in ("data", "models") for p in (self.root / name).rglob("*") if p.is_file()
        )
        return {p.relative_to(self.root).as_posix() for p in files if p.name != SOURCES}


def lay_out(root: Path) -> Workspace:
    """The project in an empty folder, with a small set of canaries beside it."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "conf", root / "conf")
    (root / "src").mkdir()
    (root / "src/birdbone").symlink_to(ROOT / "src/birdbone")
    for name in ("pyproject.toml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    (root / "canaries.yml").write_text(yaml.safe_dump(CANARIES))
    return Workspace(root)


def copied(workspace: Workspace, root: Path) -> Workspace:
    """The same project, results and all, in another folder."""
    shutil.copytree(workspace.root, root, symlinks=True)
    return Workspace(root)


def laid_over(tree: dict, over: dict) -> dict:
    """A tree with another laid over it, key by key."""
    both = {
        k: laid_over(tree[k], v) if isinstance(v, dict) and k in tree else v
        for k, v in over.items()
    }
    return {**tree, **both}
