"""``birdbone``: what Kedro and DVC have no command for."""

from __future__ import annotations

import json
import sys

import click

from birdbone.cli.bundle import bundle
from birdbone.cli.diff import diff
from birdbone.cli.hook import hook
from birdbone.cli.plan import plan
from birdbone.cli.root import project_root
from birdbone.cli.scan import image, replay, scan
from birdbone.errors import BirdboneError, ConfigError
from birdbone.run.failure import message


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Make a language model small, and show what it cost.

    The work itself is Kedro's and DVC's:

    \b
      kedro run                      the whole job (growth_prune_heal)
      kedro run --env=tiny           the same on a tiny random model, in a minute
      kedro run --params=model=gpt2  another preset, hub id, folder or .gguf
      dvc repro                      only what changed
      kedro viz run                  the pipeline in the browser
    """


@commands.command()
@click.option("--check", "only_check", is_flag=True, help="Exit 1 when dvc.yaml is stale; write nothing.")
def dvc(only_check: bool) -> None:
    """Write dvc.yaml from the Kedro registry and catalog (base profile).

    Run it after adding a node, a dataset, or waves. Folders of waves that are gone are deleted.
    """
    from birdbone.run.dvc_yaml import check, write

    root = project_root()
    if only_check:
        if not check(root):
            raise ConfigError("dvc.yaml is not what registry and catalog say: run `birdbone dvc` and commit it")
        click.echo("dvc.yaml is up to date")
        return
    for path in write(root):
        click.echo(f"removed {path}")
    click.echo("dvc.yaml written")


@commands.command()
@click.option("--env", default=None, help="Profile, as for kedro run.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def verify(env: str | None, as_json: bool) -> None:
    """Re-hash every artifact of a profile against its manifest, and DVC's cache (DVC itself never does).

    Of the base profile also: whether dvc.lock names the parameters that the results were made with.
    """
    from birdbone.cli.verify import advice, artifacts, cached
    from birdbone.run.recorded import unlike_lock

    root = project_root()
    states, (objects, damaged) = artifacts(root, env), cached(root)
    unlike = unlike_lock(root) if env in (None, "base") else []
    if as_json:
        cache = {"objects": objects, "damaged": damaged}
        click.echo(json.dumps({"artifacts": states, "cache": cache, "lock": unlike}))
    else:
        click.echo("".join(f"{state:8} {name}\n" for name, state in states.items()), nl=False)
        click.echo(f"{'DAMAGED' if damaged else 'ok':8} DVC's cache: {objects} objects")
        click.echo("".join(f"{'UNLIKE':8} {line}\n" for line in unlike), nl=False)
    if problem := advice(states, damaged, unlike):
        raise BirdboneError(problem)


@commands.command()
@click.option("--check", "only_check", is_flag=True, help="Only say whether DVC can record here; write nothing.")
def record(only_check: bool) -> None:
    """Give DVC the results of the base profile's last run (dvc.lock and its cache), as `make run` does at its end.

    Refused where they were not made as conf/base says: after --params, conf/local, another profile that writes to
    the same place, or half a run. Where DVC cannot record at all, that is said, and nothing is done.
    """
    from birdbone.run import recorded

    root = project_root()
    if why := recorded.unrecordable(root):
        click.echo(f"birdbone: DVC {'will' if only_check else 'does'} not record the results: {why}", err=True)
    elif not only_check:
        recorded.record(root)
        click.echo("recorded for DVC: dvc.lock")


@commands.command()
@click.option("--env", default=None, help="Profile, as for kedro run.")
def summary(env: str | None) -> None:
    """Print the last finished run's summary table and the paths of what it made."""
    from birdbone.run.catalog import CatalogFiles
    from birdbone.run.config import roots

    loader = _loader(env)
    path = project_root() / CatalogFiles(loader).path("summary")
    if not path.is_file():
        command = "kedro run" + (f" --env={env}" if env else "")
        raise ConfigError(f"no finished run in {roots(loader)['data']}: {command}")
    click.echo(path.read_text())


def _loader(env: str | None):
    from birdbone.run.config import make_loader

    return make_loader(project_root(), env)


commands.add_command(bundle)
commands.add_command(diff)
commands.add_command(hook)
commands.add_command(plan)
commands.add_command(scan)
commands.add_command(replay)
commands.add_command(image)


def main() -> None:
    """Console entry: a clear message and exit code 1 on any error of ours, also where Kedro wrapped it."""
    try:
        commands()
    except Exception as error:
        text = message(error)
        if text is None:
            raise
        print(f"birdbone: {text}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
