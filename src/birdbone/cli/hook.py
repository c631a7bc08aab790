"""``birdbone hook``: what git's hooks and a pull request's check call. Exit code 1 stops the commit
or the merge.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group()
def hook() -> None:
    """What git's hooks call (`make hooks` installs them)."""


@hook.command()
def weights() -> None:
    """Refuse a commit that changes the accepted model without a bundle, a merge that mixes two
    models' runs, and a dvc.lock that names other parameters than were used.
    """
    from birdbone.git import hooks

    root = _root()
    _refuse(hooks.weights(root) or _misnamed(root))


@hook.command()
def blobs() -> None:
    """Refuse staged pickles, and files over 1 MB."""
    from birdbone.git import hooks

    _refuse(hooks.blobs(_root()))


@hook.command()
def notebooks() -> None:
    """Clean staged notebooks of outputs and counts; refuse the commit until they are staged
    again.
    """
    from birdbone.datasets.atomic import write_file
    from birdbone.git import hooks
    from birdbone.git.notebooks import clean

    root = _root()
    dirty = hooks.notebooks(root)
    for name in dirty:
        if (root / name).is_file():
            write_file(root / name, clean((root / name).read_text(encoding="utf-8"), name))
    _refuse([f"{name}: it had outputs and is clean now: git add it and commit again" for name in dirty])


@hook.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("rest", nargs=-1)
def message(file: Path, rest: tuple[str, ...]) -> None:
    """Add the trailer `Bundle-Id:` to a commit message, for each bundle the commit adds
    (prepare-commit-msg).
    """
    from birdbone.git import hooks

    bundles = hooks.added_bundles(_root())
    if bundles:
        text = file.read_text(encoding="utf-8")
        file.write_text(hooks.with_trailers(_root(), text, bundles), encoding="utf-8")


@hook.command()
@click.option("--base", default="origin/main", show_default=True, help="The branch to merge into.")
def review(base: str) -> None:
    """Verify the bundles added since the base, print their reports, and fail where one must not be
    merged.
    """
    from birdbone.git.review import examine

    review = examine(_root(), base, fault)
    click.echo(review.text, nl=False)
    _refuse(review.problems)


def fault(folder: Path) -> str | None:
    """What is wrong with the bundle in a folder; None where nothing is."""
    from birdbone.diff.verified import verify_bundle
    from birdbone.errors import BirdboneError

    try:
        verify_bundle(folder)
    except BirdboneError as error:
        return f"it does not verify: {error}"
    return None


def _misnamed(root: Path) -> list[str]:
    """What a dvc.lock under way says that was not run; asked only where there is a ledger to
    tell.
    """
    from birdbone.git import repository
    from birdbone.git.lock import LOCK

    before, after = (repository.read(root, side, LOCK) for side in ("HEAD", repository.INDEX))
    if before == after or not (root / ".birdbone").is_dir():
        return []
    from kedro.framework.startup import bootstrap_project

    from birdbone.cli.verify import advice
    from birdbone.run.recorded import unlike_lock

    bootstrap_project(root)
    problem = advice({}, [], unlike_lock(root))
    return [problem] if problem else []


def _root() -> Path:
    from birdbone.git.repository import top

    return top(Path.cwd())


def _refuse(problems: list[str]) -> None:
    for problem in problems:
        click.echo(f"birdbone: {problem}", err=True)
    if problems:
        sys.exit(1)
