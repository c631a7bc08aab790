"""``kedro config diff``: the resolved configuration against a git revision, and the way back to
one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from birdbone.errors import BirdboneError


@click.group(name="birdbone", help="")
def project_commands() -> None:
    """What birdbone adds to ``kedro``; without a help text, which would stand above all of Kedro's
    commands.
    """


@project_commands.group()
def config() -> None:
    """Compare the resolved configuration with git's."""


@config.command()
@click.option("--from", "revision", default="HEAD", show_default=True, help="Commit, tag or branch to compare with.")
@click.option("--env", default=None, help="Profile, as for kedro run; none: conf/local over conf/base.")
@click.option("--rollback", metavar="REV", default=None, help="Make conf/ what it was at REV, and say what changed.")
@click.option("--force", is_flag=True, help="With --rollback: overwrite uncommitted changes in conf/.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--exit-code", is_flag=True, help="Exit 1 when there is a difference.")
def diff(revision: str, env: str | None, rollback: str | None, force: bool, as_json: bool, exit_code: bool) -> None:
    """What differs between a revision's configuration and the workspace's, as a run would see it.

    \b
      ~ quantize.trials: 3 → 4        changed; with types where they differ
      + quantize.new: 1               only in the workspace
      - quantize.old: 1               only in the revision

    Parameters after interpolation and with the profile laid over them, and the catalog. Nothing is
    printed when they are equal.
    """
    from birdbone.git.config_diff import changes, resolved
    from birdbone.run.config import project_root

    try:
        root = project_root()
        if rollback is not None:
            _roll_back(root, rollback, env, force)
            return
        differences = changes(resolved(root, revision, env), resolved(root, None, env))
    except BirdboneError as error:
        click.echo(f"birdbone: {error}", err=True)
        raise SystemExit(2) from None
    if as_json:
        click.echo(json.dumps([change.record for change in differences], ensure_ascii=False, indent=1))
    else:
        click.echo("".join(f"{change.line}\n" for change in differences), nl=False)
    sys.exit(1 if exit_code and differences else 0)


def _roll_back(root: Path, revision: str, env: str | None, force: bool) -> None:
    from birdbone.errors import ConfigError
    from birdbone.git.config_diff import config_text, resolved, restore, uncommitted

    dirty = uncommitted(root)
    if dirty and not force:
        raise ConfigError(f"not committed: {', '.join(dirty)}. Commit or stash them, or overwrite them with --force")
    before = resolved(root, None, env)
    files = restore(root, revision)
    click.echo(config_text(before, resolved(root, None, env)), nl=False)
    if not files:
        click.echo(f"conf/ is already as at {revision}: nothing done")
        return
    click.echo(f"conf/ is as at {revision} again, staged: {', '.join(files)}")
    left = [path for path in uncommitted(root) if path not in files]
    if left:
        click.echo(f"left as they are, git does not track them: {', '.join(left)}")
