"""``birdbone plan``: what a run will do and need, without doing it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from birdbone.run.overrides import Overrides

if TYPE_CHECKING:
    from birdbone.cli.estimate import Estimate
    from birdbone.cli.probe import Probe
    from birdbone.parameters import Parameters
    from birdbone.run.config import ConfigLoader
    from birdbone.run.cost import Work
    from birdbone.sources.shape import ModelShape

NOTABLE = 1.15
"""Slowdown by other processes from which on it is shown what the run would take beside them."""


@click.command()
@click.option(
    "--env",
    default=None,
    help="Profile: base (default), tiny, full, small, or a folder of your own in conf/.",
)
@click.option(
    "--pipelines", default="growth_prune_heal", help="As for kedro run; default: the whole job."
)
@click.option("--params", cls=Overrides)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plan(env: str | None, pipelines: str, params: dict, as_json: bool) -> None:
    """Say what a run will do and need, without doing it.

    Minutes per stage, memory, disk, the export's size, tensor types llama.cpp cannot hold, and
    targets that these settings cannot reach.

    The minutes are those of an idle machine. They rest on the timings of earlier runs, scaled where
    model, text or settings were others, and without any on a probe of two seconds. Beside other
    processes a run takes longer; the plan says how much they took during the probe.
    """
    from birdbone.run.config import make_loader, project_root

    root = project_root()
    loader = make_loader(root, env, params)
    made = make_plan(root, loader, pipelines.split(","))
    if as_json:
        click.echo(json.dumps(made.to_json(), indent=1))
    else:
        show(made, loader)


@dataclass(frozen=True)
class Plan:
    """estimates: of each node, in the order of the run. memory, disk and the exports' in bytes."""

    name: str
    shape: ModelShape
    estimates: dict[str, Estimate]
    probe: Probe
    memory: int
    disk: int
    bytes_range: tuple[int, int]
    warnings: list[str]

    @property
    def seconds(self) -> float:
        """Of all nodes on an idle machine."""
        return sum(estimate.seconds for estimate in self.estimates.values())

    def stages(self) -> dict[str, list[Estimate]]:
        """Stage (a node's name up to its dot) -> estimates of its nodes."""
        stages: dict[str, list[Estimate]] = {}
        for node, estimate in self.estimates.items():
            stages.setdefault(node.partition(".")[0], []).append(estimate)
        return stages

    def to_json(self) -> dict:
        """For machines."""
        return {
            "model": self.name,
            "minutes": {
                stage: sum(e.seconds for e in rows) / 60 for stage, rows in self.stages().items()
            },
            "slowdown": self.probe.slowdown,
            "others": self.probe.others,
            "nodes": {
                n: {"seconds": e.seconds, "timing": e.timing} for n, e in self.estimates.items()
            },
            "memory_bytes": self.memory,
            "disk_bytes": self.disk,
            "f16_bytes": self.shape.bytes_f16,
            "export_bytes": self.bytes_range,
            "warnings": self.warnings,
        }


def make_plan(root: Path, loader: ConfigLoader, pipelines: list[str]) -> Plan:
    """The plan of a run of ``pipelines``. Raises what that run would at its start."""
    from birdbone.cli import needs
    from birdbone.cli.earlier import earlier_runs
    from birdbone.cli.estimate import estimate
    from birdbone.cli.probe import probe
    from birdbone.model.device import resolve_device
    from birdbone.pipeline_registry import node_works
    from birdbone.run.checks import check_model, check_outside, quick_tokenizer
    from birdbone.sources.locate import locate
    from birdbone.sources.shape import model_shape

    parameters = loader.checked
    tree = parameters.values()
    nodes = node_names(pipelines)
    check_outside(tree, nodes)
    source = locate(tree["model"], tree["models"])
    shape = model_shape(source)
    check_model(tree, nodes, shape.config, quick_tokenizer(source))

    def works_of(then: Parameters) -> tuple[float, dict[str, Work]]:
        before = then.values()
        same = (before["model"], before["models"]) == (tree["model"], tree["models"])
        at = shape if same else model_shape(locate(before["model"], before["models"]))
        return at.flops, node_works(then, at)

    measured = probe(resolve_device(parameters.device), parameters.threads)
    rows = node_works(parameters, shape)
    earlier = earlier_runs(sorted((root / ".birdbone").glob("*/")), tree, works_of)
    return Plan(
        source["name"],
        shape,
        {
            n: estimate(rows[n], shape.flops, measured.speed, earlier.get(n, []))
            for n in nodes
            if n in rows
        },
        measured,
        needs.memory(parameters, shape),
        needs.disk(parameters, shape),
        needs.export_bytes(parameters, shape),
        needs.warnings(parameters, shape) + uncounted(nodes, rows),
    )


def uncounted(nodes: list[str], rows: dict[str, Work]) -> list[str]:
    """A line that names the nodes without a row in the cost model."""
    without = [node for node in nodes if node not in rows]
    return (
        [f"not counted: {', '.join(without)} (no row in the cost.py of the stage)"]
        if without
        else []
    )


def node_names(pipelines: list[str]) -> list[str]:
    """Of the registered ``pipelines``, in the order of a run. Raises ConfigError naming one that is
    not there.
    """
    from kedro.framework.project import pipelines as registered

    from birdbone.errors import ConfigError

    for name in pipelines:
        if name not in registered:
            raise ConfigError(f"no pipeline {name}: `kedro registry list` has all")
    return [
        node.name
        for node in sum(
            (registered[name] for name in pipelines[1:]), registered[pipelines[0]]
        ).nodes
    ]


def show(plan: Plan, loader: ConfigLoader) -> None:
    """The plan on the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from birdbone.algo.budget import bytes_allowed
    from birdbone.cli.estimate import basis, load_line
    from birdbone.report import numbers
    from birdbone.run.catalog import CatalogFiles

    parameters = loader.checked
    console = Console(highlight=False)
    table = Table(
        title=f"birdbone: {escape(plan.name)}, {plan.shape.parameters / 1e6:.1f} M weights, "
        f"{plan.shape.layers} layers",
        title_justify="left",
    )
    busy = plan.probe.slowdown >= NOTABLE
    times = [1.0, plan.probe.slowdown] if busy else [1.0]
    table.add_column("stage")
    table.add_column("idle machine", justify="right")
    if busy:
        table.add_column("as busy as now", justify="right")
    table.add_column("by")
    for stage, rows in plan.stages().items():
        seconds = sum(row.seconds for row in rows)
        timed = all(row.timing for row in rows)
        table.add_row(
            stage, *(numbers.duration(seconds * t) for t in times), "timing" if timed else "probe"
        )
    total = [f"[bold]{numbers.duration(plan.seconds * t)}" for t in times]
    table.add_row("[bold]all", *total)
    console.print(table)
    console.print(f"time {basis([*plan.estimates.values()])}; {load_line(plan.probe)}")
    low, high = map(numbers.size, plan.bytes_range)
    console.print(f"memory about {numbers.size(plan.memory)}, disk about {numbers.size(plan.disk)}")
    goal = f"the smallest that costs at most {parameters.max_loss:.0%} of perplexity"
    if parameters.target_bytes is not None:
        allowed = bytes_allowed(parameters.target_bytes, plan.shape.bytes_f16)
        goal = f"the best of at most {numbers.size(allowed)}"
    console.print(
        f"GGUF tensors between {low} and {high} (f16: {numbers.size(plan.shape.bytes_f16)}), {goal}"
    )
    files = CatalogFiles(loader)
    page = escape(files.path("report_page"))
    export = escape(f"{Path(files.path('export_gguf')).parent}/")
    console.print(f"results: [bold]{page}[/], [bold]{export}[/]")
    for warning in plan.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
