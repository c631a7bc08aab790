"""A throw-away Kedro project with trivial nodes that uses the real platform classes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from places import SRC

WRITE = (
    "from pathlib import Path; from birdbone.run.dvc_yaml import write; print(*write(Path('.')))"
)
CHECK = "from pathlib import Path; from birdbone.run.dvc_yaml import check; print(check(Path('.')))"

FILES = {
    "pyproject.toml": """
[tool.kedro]
package_name = "demo"
project_name = "demo"
kedro_init_version = "1.7.0"
source_dir = "src"
""",
    ".telemetry": "consent: false\n",
    ".gitignore": "*.log\n.birdbone/\n__pycache__/\n",
    "conf/logging.yml": (SRC.parent / "conf/logging.yml").read_text(),
    "conf/base/globals.yml": "data: data\nmodels: models/default\n",
    "conf/base/parameters.yml": "waves: 2\nrandom_seed: 7\n",
    "conf/base/parameters_prune.yml": "prune: {step: 0.1}\n",
    "conf/base/parameters_heal.yml": "heal: {steps: 4, lr: 0.5}\n",
    "conf/base/parameters_report.yml": "report: {title: final}\n",
    "conf/base/catalog.yml": """
scratch:
  type: birdbone.run.scratch.Scratch
  metadata: {birdbone: {dvc: none}}
seed_model:
  type: demo.datasets.Text
  filepath: ${globals:models}/seed/model.txt
"{wave}.pruned":
  type: demo.datasets.Text
  filepath: ${globals:models}/{wave}/pruned.txt
"{wave}.model":
  type: demo.datasets.Text
  filepath: ${globals:models}/{wave}/model.txt
"{wave}.curve":
  type: demo.datasets.Text
  filepath: ${globals:data}/08_reporting/{wave}/curve.csv
  metadata: {birdbone: {dvc: plot, x: step, y: loss}}
final_metrics:
  type: demo.datasets.Plain
  filepath: ${globals:data}/08_reporting/final.json
  metadata: {birdbone: {dvc: metric}}
aside_metrics:
  type: demo.datasets.Plain
  filepath: ${globals:data}/08_reporting/aside.json
  metadata: {birdbone: {dvc: metric}}
""",
    "conf/tiny/globals.yml": "data: data/tiny\nmodels: models/tiny\n",
    "conf/tiny/parameters.yml": "waves: 1\nheal: {steps: 2}\n",
    "src/demo/__init__.py": "",
    "src/demo/faults.py": """
import os
import signal


def point(name):
    if os.environ.get("KILL_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
""",
    "src/demo/datasets.py": """
import os
from pathlib import Path

from kedro.io import AbstractDataset

from birdbone.datasets.atomic import file_digest
from demo.faults import point


class Plain(AbstractDataset):
    def __init__(self, filepath, metadata=None):
        self._filepath, self.metadata = Path(filepath), metadata

    def save(self, text: str) -> None:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        half = self._filepath.with_name(f".{self._filepath.name}.tmp-{os.getpid()}")
        half.write_text(text)
        point(f"saving {self._filepath.parent.name}/{self._filepath.name}")
        os.replace(half, self._filepath)
        point(f"saved {self._filepath.parent.name}/{self._filepath.name}")

    def load(self) -> str:
        return self._filepath.read_text()

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self):
        return {}


class Text(Plain):
    def digest(self):
        return file_digest(self._filepath) if self._filepath.is_file() else None
""",
    "src/demo/maths.py": "def mixed(*parts):\n    return ' '.join(str(p) for p in parts)\n",
    "src/demo/nodes.py": """
import hashlib
import json
import time
from pathlib import Path

from demo.faults import point
from demo.maths import mixed


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def log(line):
    with open("calls.log", "a") as file:
        file.write(line + "\\n")


def load(random_seed):
    log("load")
    return short(str(random_seed))


def prune(start, prune):
    log("prune")
    point("pruning")
    return short(mixed(start, prune["step"]))


def heal(pruned, heal, scratch):
    checkpoint = scratch / "state.json"
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "model": pruned}
    while state["step"] < heal["steps"]:
        state = {"step": state["step"] + 1, "model": short(mixed(state["model"], heal["lr"]))}
        log(f"step {state['step']}")
        checkpoint.write_text(json.dumps(state))
        point(f"step {state['step']}")
    curve = "step,loss\\n" + "".join(f"{s},{1 / s}\\n" for s in range(1, heal["steps"] + 1))
    return state["model"], curve


def report(report, *models):
    log("report")
    while Path("hold").exists():
        time.sleep(0.05)
    return json.dumps({"title": report["title"], "score": len(models), "last": models[-1]})
""",
    "src/demo/pipeline_registry.py": """
from kedro.pipeline import Node, Pipeline

from birdbone.run.config import parameters
from demo import nodes


def wave(number):
    before = f"wave_{number - 1}.model" if number > 1 else "seed_model"
    steps = [
        Node(nodes.prune, ["start", "params:prune"], "pruned", name="prune", tags="prune"),
        Node(nodes.heal, ["pruned", "params:heal", "scratch"], ["model", "curve"], name="heal", tags="heal"),
    ]
    return Pipeline(steps, namespace=f"wave_{number}", inputs={"start": before, "scratch": "scratch"},
                    parameters={"params:prune", "params:heal"})


def register_pipelines():
    waves = {f"wave_{i}": wave(i) for i in range(1, parameters()["waves"] + 1)}
    seed = Pipeline([Node(nodes.load, "params:random_seed", "seed_model", name="seed.load")])
    models = [f"{name}.model" for name in waves]
    final = Pipeline([Node(nodes.report, ["params:report", *models], "final_metrics", name="final.report")])
    linear = {"seed": seed, "final": final}
    aside = Pipeline([Node(nodes.report, ["params:report", "seed_model"], "aside_metrics", name="aside.report")])
    return {**linear, **waves, "aside": aside, "__default__": sum([*linear.values(), *waves.values()], Pipeline([]))}
""",
    "src/demo/settings.py": """
from birdbone.run.config import ConfigLoader
from birdbone.errors import ConfigError
from birdbone.settings import *

KNOWN = {"waves": None, "random_seed": None, "prune": {"step"}, "heal": {"steps", "lr"}, "report": {"title"}}


class CONFIG_LOADER_CLASS(ConfigLoader):
    @staticmethod
    def check(tree):
        faults = [f"parameter {key}: unknown" for key in tree if key not in KNOWN]
        for key in KNOWN:
            if KNOWN[key]:
                faults += [f"parameter {key}.{k}: unknown" for k in tree[key] if k not in KNOWN[key]]
        if not isinstance(tree["waves"], int) or tree["waves"] < 1:
            faults.append(f"parameter waves: should be at least 1 (got {tree['waves']})")
        if faults:
            raise ConfigError("\\n".join(faults))
        return tree
""",
}


@dataclass
class Project:
    """The throw-away project and how to call commands in it."""

    root: Path
    timeout: float = 120

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """``python -m <arguments>`` in the project, as a user would run it."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.root,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=self.timeout,
        )

    def kedro(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.command("kedro", *arguments, **env)

    def python(self, code: str, **env: str) -> str:
        """Standard output of a Python program run in the project."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.root,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=self.timeout,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self, **env: str) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        python_path = os.pathsep.join([str(self.root / "src"), str(SRC)])
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("KEDRO", "DVC", "BIRDBONE"))
        }
        return {**kept, "PATH": path, "PYTHONPATH": python_path, "DVC_NO_ANALYTICS": "1", **env}

    def results(self) -> dict[str, str]:
        """Every file below data/ and models/ with its content."""
        files = [
            p for place in ("data", "models") for p in (self.root / place).rglob("*") if p.is_file()
        ]
        return {
            p.relative_to(self.root).as_posix(): p.read_text()
            for p in files
            if p.name != ".gitignore"
        }

    def calls(self) -> list[str]:
        """What the nodes did since the last time this was asked."""
        log = self.root / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))


def lay_out(root: Path) -> Project:
    """Write the throw-away project into an empty folder."""
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Project(root)


def copied(project: Project, root: Path) -> Project:
    """A copy of a project, to change at will."""
    shutil.copytree(project.root, root, dirs_exist_ok=True)
    return Project(root)
