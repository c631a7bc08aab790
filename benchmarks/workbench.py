"""What every benchmark shares: the artifacts of the looking stages, and where results go."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from birdbone.model.judging.judge import domains
from birdbone.model.judging.reference import Reference

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
NO_CAP = 0.99
"""A cluster cap that never binds: the share asked for is the share that goes."""


def arguments(description: str, **options: Any) -> argparse.Namespace:
    """The command line: ``--env`` and one flag per option, with its default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--env", default="base", help="profile whose looking stages have run")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


class Artifacts:
    """Catalog entries and parameters of a profile; `kedro run --env=ENV --tags=look` makes them."""

    def __init__(self, env: str) -> None:
        bootstrap_project(ROOT)
        with KedroSession.create(ROOT, env=env) as session:
            context = session.load_context()
            self.parameters, self._catalog = context.params, context.catalog

    def __getattr__(self, name: str) -> Any:
        return self._catalog.load(name)

    def reference(self, windows: int) -> Reference:
        """The seed on the first ``windows`` of each domain."""
        return Reference(self.seed_model, {n: s[:windows] for n, s in self.seed_states[0].items()})


def fewer(texts: dict[str, torch.Tensor], split: str, windows: int) -> dict[str, torch.Tensor]:
    """The first ``windows`` of each domain of a split, with their documents."""
    names = [n for d in domains(texts, split) for n in (f"{split}.{d}", f"{split}.{d}.documents")]
    return {n: texts[n][:windows] for n in names}


def save(name: str, settings: argparse.Namespace, rows: list[dict], figure: Any) -> None:
    """``results/<name>.json`` with the machine and commit it came from, and ``results/<name>.png``."""
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    about = {
        "commit": commit.stdout.strip(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "settings": vars(settings),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    figure.savefig(RESULTS / f"{name}.png", dpi=150, bbox_inches="tight")
    print(f"\n{RESULTS / name}.json, .png")
