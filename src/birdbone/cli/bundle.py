"""``birdbone bundle``: the workspace's model against the last commit's, its record in DVC and git made ready."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click

from birdbone.cli.diff import JSON
from birdbone.cli.root import project_root
from birdbone.errors import ConfigError


@click.command()
@click.option("--base", default=None, help="Revision, folder or bundle to compare with; default: HEAD, or the seed.")
@click.option("--no-stage", is_flag=True, help="Write the folder; leave git and DVC alone.")
@click.option("--tag", default=None, help="Name of this version, such as v0.2; set once the bundle is committed.")
@JSON
def bundle(base: str | None, no_stage: bool, tag: str | None, as_json: bool) -> None:
    """Make the diff bundle of the workspace's model, ready to be committed with it.

    Compares the last commit's accepted model (the seed where it has none) with the workspace's,
    writes diffs/<id>/, gives weights.patch (and a masks.patch over 1 MB) to DVC and stages the rest.
    Run it after `kedro run` or `dvc repro`, before `git commit`.

    A tag needs the commit that carries the bundle, so give the same line before and after it:

    \b
      birdbone bundle --tag v0.2     makes the bundle, and checks that the name is free
      git commit -m "prune less"
      birdbone bundle --tag v0.2     sets the tag on that commit
      git push origin v0.2
    """
    from birdbone.diff.bundle import write_bundle
    from birdbone.diff.records import workspace
    from birdbone.diff.revisions import HERE, opened, seed_side, seed_state
    from birdbone.git.lock import LOCK, tracked_model
    from birdbone.git.repository import commit
    from birdbone.git.tags import carrier, check_tag, set_tag

    root = project_root()
    if tag is not None and no_stage:
        raise ConfigError("--tag names what is committed: leave --no-stage out")
    if tag is not None:
        check_tag(root, tag)
    if not no_stage:
        hand_to_dvc(root)
    if tag and (carrying := carrier(root, tracked_model(workspace(root)[0](LOCK)))):
        set_tag(root, tag, *carrying)
        tell_tag(tag, *carrying, as_json)
        return
    with opened(root, *([_base(root, base)] if _base(root, base) else []), HERE) as sides:
        old, new = sides if len(sides) == 2 else (seed_side(root), sides[0])
        folder = write_bundle(old, new, seed_state(root), root, commit(root, "HEAD"))
    if not no_stage:
        stage(root, folder)
    name = folder.name
    if as_json:
        click.echo(json.dumps({"id": name, "folder": str(folder.relative_to(root))}))
        return
    click.echo((folder / "report.md").read_text())
    click.echo(f"bundle {name} in {folder.relative_to(root)}" + ("" if no_stage else ", staged"))
    click.echo(f"commit it with the model; the trailer is `Bundle-Id: {name}`")
    if tag:
        click.echo(f"then `birdbone bundle --tag {tag}` sets the tag on that commit")


def tell_tag(tag: str, commit: str, name: str, as_json: bool) -> None:
    """What was tagged."""
    if as_json:
        click.echo(json.dumps({"id": name, "tag": tag, "commit": commit}))
    else:
        click.echo(f"tag {tag} is on commit {commit[:12]}, which brought bundle {name}: git push origin {tag}")


def _base(root: Path, base: str | None) -> str | None:
    """What to compare with: as asked, or HEAD where it tracks a model."""
    from birdbone.diff.records import revision
    from birdbone.errors import SourceError
    from birdbone.git.lock import LOCK, tracked_model

    if base:
        return base
    try:
        head = revision(root, "HEAD")
    except SourceError:
        return None
    return "HEAD" if tracked_model(head.read(LOCK)) else None


def hand_to_dvc(root: Path) -> None:
    """DVC's record of the accepted model and of all it was made from made that of the workspace: a `kedro run` alone
    leaves the last one. Raises ConfigError where it was not made as ``conf/base`` says."""
    from birdbone.diff.records import workspace
    from birdbone.git.lock import LOCK, tracked_model
    from birdbone.run.recorded import record, unrecordable

    if why := unrecordable(root):
        raise ConfigError(f"{why} (`birdbone bundle --no-stage` writes the folder alone)")
    tracked = tracked_model(workspace(root).read(LOCK))
    if tracked is None:
        raise ConfigError("DVC tracks no model yet: `birdbone record` after a finished run, then `birdbone bundle`")
    record(root, tracked.stage)


def stage(root: Path, folder: Path) -> None:
    """weights.patch, and a masks.patch that git's hooks refuse for its size, to DVC; all else to git's index."""
    from dvc.repo import Repo

    from birdbone.diff.bundle import MASKS_PATCH, SMALL, WEIGHTS_PATCH
    from birdbone.git.hooks import LARGEST
    from birdbone.git.repository import git

    large = [WEIGHTS_PATCH] + [MASKS_PATCH] * ((folder / MASKS_PATCH).stat().st_size > LARGEST)
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its advice on what to add to git is done below
    with Repo(str(root)) as repo:
        repo.add([str(folder / name) for name in large])
    small = [*(n for n in SMALL if n not in large), *(f"{name}.dvc" for name in large), ".gitignore"]
    paths = [*(folder / name for name in small), root / "dvc.lock"]
    git(root, "add", "-f", "--", *[str(p.relative_to(root)) for p in paths if p.is_file()])
