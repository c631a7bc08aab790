"""Every command of ours that the README and a bundle's report name is one, with the options it is
given.
"""

from __future__ import annotations

import re
import shlex

import click
import pytest
from places import ROOT

from birdbone.cli.config import project_commands
from birdbone.cli.main import commands

README = (ROOT / "README.md").read_text()
REPORT = (ROOT / "src/birdbone/diff/markdown.py").read_text()
OURS = re.compile(r"(?:birdbone|kedro config) [^`#&|\n\"]+")
NAMED = sorted(
    {found.strip().replace("{story.id}", "ID") for found in OURS.findall(README + REPORT)}
)
SPOKEN = [
    line
    for line in NAMED
    if re.match(r"birdbone (bundle|diff|plan|verify|dvc|summary|hook)\b|kedro", line)
]


def parse(group: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Read a command line as click does, without doing what it says. Raises click.UsageError."""
    context = group.make_context(group.name or "", arguments, parent=parent)
    if isinstance(group, click.Group):
        _, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        parse(command, rest, context)


def test_the_readme_names_the_commands_of_review() -> None:
    for part in (
        "birdbone diff HEAD~1 HEAD",
        "kedro config diff --rollback HEAD~1",
        "birdbone bundle",
    ):
        assert any(line.startswith(part) for line in SPOKEN), part
    assert len(SPOKEN) >= 8


@pytest.mark.parametrize("line", SPOKEN)
def test_a_named_command_is_one(line: str) -> None:
    words = shlex.split(line)
    parse(commands if words[0] == "birdbone" else project_commands, words[1:])


@pytest.mark.parametrize(
    "line", ["diff revert ID --all", "diff show", "nothing", "verify --masks-only"]
)
def test_what_is_no_command_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(commands, line.split())
