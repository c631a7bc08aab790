"""What every benchmark shares: the artifacts of the looking stages, and where results go."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from pathlib import Path
from typing import Any, TypeVar

import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.reference import Reference
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.moments import SecondMoments, Weights, key_of, moments, seal, store
from birdbone.strict import Strict
from birdbone.text.texts import Domain

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
AnySettings = TypeVar("AnySettings", bound=Strict)
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
            self.parameters = context.config_loader["parameters"]
            self._catalog = context.catalog

    def __getattr__(self, name: str) -> Any:
        return self._catalog.load(name)

    def settings(self, kind: type[AnySettings], key: str, **changes: Any) -> AnySettings:
        """A group of the profile's parameters as the settings they are, some of them changed."""
        return kind(**self.parameters[key] | changes)

    def reference(self, windows: int, split: str = "guard") -> Reference:
        """The seed on the first ``windows`` of each domain of ``guard`` or ``test``."""
        states = getattr(self.seed_states, split)
        return Reference(self.seed_model, {name: s[:windows] for name, s in states.items()})


def one_cluster(seed: Checkpoint) -> Clusters:
    """All neurons of a layer as one cluster: with ``NO_CAP``, clusters that say nothing."""
    labels = [torch.zeros(width, dtype=torch.int32) for width in seed.counts("ffn")]
    return Clusters(labels, None, [1] * len(labels))


def stored_moments(
    folder: Path, seed: Checkpoint, windows: torch.Tensor, weights: Weights, device: str
) -> SecondMoments:
    """Second moments of the seed on ``windows`` [N, T], computed once and read from ``folder`` ever after."""
    for layer, fit, check in moments(seed, windows, weights, device):
        store(folder, layer, fit, check)
    seal(folder, key_of(seed, windows, weights))
    return SecondMoments(folder)


def fewer(domains: dict[str, Domain], windows: int) -> dict[str, Domain]:
    """The first ``windows`` of each domain."""
    return {name: domain.first(windows) for name, domain in domains.items()}


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
