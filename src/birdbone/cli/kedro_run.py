"""Where Kedro looks for a project's own commands: its ``run``, with our reading of ``--params``."""

from __future__ import annotations

import copy

import click
from kedro.framework.cli.project import run as kedros_run

from birdbone.run.overrides import Overrides

run = copy.copy(kedros_run)
run.params = [
    Overrides(["--params"]) if option.name == "params" else option for option in kedros_run.params
]


@click.group(name="birdbone", help="")
def cli() -> None:
    """The commands; without a help text, which would stand above all of Kedro's."""


cli.add_command(run)
