"""``birdbone diff``: look at a bundle or any two models, check it, apply it, take it back."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from birdbone.cli.root import project_root
from birdbone.errors import BirdboneError, BundleError, ConfigError

LOADABLE = click.option(
    "--loadable",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write it here as stock safetensors with its tokenizer, for from_pretrained and kedro run.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")


class _Diff(click.Group):
    """`birdbone diff A B` is short for `birdbone diff between A B`."""

    def resolve_command(self, context: click.Context, arguments: list[str]):
        if arguments and arguments[0] not in self.commands and not arguments[0].startswith("-"):
            arguments = ["between", *arguments]
        return super().resolve_command(context, arguments)


@click.group(cls=_Diff, context_settings={"help_option_names": ["-h", "--help"]})
def diff() -> None:
    """What changed between two models, and how to take it back.

    \b
      birdbone diff HEAD~1 HEAD        two commits; also `.` (the workspace), folders, bundles
      birdbone diff show ID|COMMIT     a bundle's report
      birdbone diff list               all bundles
      birdbone diff verify ID          every checksum
      birdbone diff apply ID BASE --to OUT
      birdbone diff revert ID --to OUT [--layers 3,5] [--masks-only]
    """


@diff.command()
@click.argument("a")
@click.argument("b")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Also write the bundle's files here.")
@click.option("--exit-code", is_flag=True, help="Exit 1 where the models differ, 2 on errors.")
@JSON
def between(a: str, b: str, out: Path | None, exit_code: bool, as_json: bool) -> None:
    """The difference of two models: folders, bundles, git revisions, or `.` for the workspace."""
    try:
        same = _compared(a, b, out, as_json)
    except BirdboneError as error:
        if not exit_code:
            raise
        click.echo(f"birdbone: {error}", err=True)
        sys.exit(2)
    sys.exit(1 if exit_code and not same else 0)


def _compared(a: str, b: str, out: Path | None, as_json: bool) -> bool:
    """Print how two models differ; whether they are the same."""
    from birdbone.diff.bundle import bundle_id, core_of, write_texts
    from birdbone.diff.patch import write_patches
    from birdbone.diff.report_data import story_of
    from birdbone.diff.revisions import opened, seed_state

    root = project_root()
    with opened(root, a, b) as (old, new), tempfile.TemporaryDirectory(prefix="birdbone-") as temporary:
        same = old.state.digest == new.state.digest
        folder = out or Path(temporary)
        if same:
            click.echo(json.dumps({"same": True}) if as_json else "The two models are the same, bit for bit.")
            return True
        seed = seed_state(root)
        summary = write_patches(old.state, new.state, seed, folder)
        story = story_of(bundle_id(core_of(old, new)), old, new, seed, summary)
        write_texts(folder, story)
        if as_json:
            click.echo(json.dumps({"same": False, **story.metrics, "bytes": summary["bytes"]}))
        else:
            click.echo((folder / "report.md").read_text())
    return False


@diff.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Print the report of a bundle, by its id or by a commit that carries it."""
    from birdbone.diff.bundle import read_bundle, read_metrics

    folder = _bundle_folder(name)
    manifest = read_bundle(folder)
    metrics = read_metrics(folder)
    click.echo(json.dumps({**manifest, "metrics": metrics}) if as_json else (folder / "report.md").read_text())


@diff.command("list")
@JSON
def list_bundles(as_json: bool) -> None:
    """Every bundle in diffs/: id, models, verdict, the commit that added it."""
    from birdbone.diff.bundle import read_bundle, read_metrics
    from birdbone.diff.revisions import BUNDLES, commit_of

    root, rows = project_root(), []
    for path in sorted((root / BUNDLES).glob("*/manifest.json")):
        manifest = read_bundle(path.parent)
        metrics = read_metrics(path.parent)
        try:
            commit = commit_of(root, path.parent.name)[:10]
        except BundleError:
            commit = None
        core = manifest["core"]
        rows.append({"id": manifest["id"], "base": core["base"], "new": core["new"], "commit": commit, **metrics})
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        change = f"{row['worst_change']:+.2%}" if "worst_change" in row else ""
        models = f"{row['base'][:12]} -> {row['new'][:12]}"
        click.echo(f"{row['id']}  {models}  {row['commit'] or 'not committed':13}  {row['verdict']} {change}")
    if not rows:
        click.echo("no bundles yet: `birdbone bundle` makes one")


@diff.command()
@click.argument("name")
@JSON
def verify(name: str, as_json: bool) -> None:
    """Check every checksum of a bundle; exit 1 where one is wrong. Needs no model."""
    from birdbone.diff.verified import verify_bundle

    counts = verify_bundle(_bundle_folder(name))
    message = f"{counts['id']}: sound; {counts['weights']} tensors and {counts['masks']} masks differ"
    click.echo(json.dumps(counts) if as_json else message)


@diff.command()
@click.argument("name")
@click.argument("base")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="Folder of the model to write.")
@LOADABLE
@JSON
def apply(name: str, base: str, target: Path, loadable: Path | None, as_json: bool) -> None:
    """Make the bundle's new model from BASE (folder, revision or `.`), which must be the bundle's
    own.
    """
    _patched(name, base, target, loadable, as_json)


@diff.command()
@click.argument("name")
@click.argument("model", default=".")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="Folder of the model to write.")
@click.option("--layers", default=None, help="These decoder blocks alone, such as 3,5.")
@click.option("--masks-only", is_flag=True, help="What was removed comes back; the healing of the rest stays.")
@LOADABLE
@JSON
def revert(
    name: str,
    model: str,
    target: Path,
    layers: str | None,
    masks_only: bool,
    loadable: Path | None,
    as_json: bool,
) -> None:
    """Take a bundle back from MODEL (default: the workspace's): whole, or some layers, or only the
    masks.

    The whole revert is the old model, bit for bit. A part of it is a new state, and not judged
    until it is evaluated: with `--loadable FOLDER`, `kedro run --params=model=FOLDER` measures and
    exports it.
    """
    chosen = None
    if layers is not None:
        if not all(part.strip().isdigit() for part in layers.split(",")):
            raise ConfigError(f"--layers {layers!r}: give numbers with commas between, such as 3,5")
        chosen = {int(part) for part in layers.split(",")}
    _patched(name, model, target, loadable, as_json, revert=True, layers=chosen, masks_only=masks_only)


def _patched(
    name: str, base: str, target: Path, loadable: Path | None, as_json: bool, revert: bool = False, **part: Any
) -> None:
    from birdbone.diff.apply import apply_bundle
    from birdbone.diff.bundle import read_bundle
    from birdbone.diff.loadable import write_loadable
    from birdbone.diff.revisions import opened, seed_state, tokenizer_folder

    root, folder = project_root(), _bundle_folder(name)
    manifest = read_bundle(folder)
    for option, path in (("--to", target), ("--loadable", loadable)):
        if path and path.exists():
            raise ConfigError(f"{option} {path} is already there: name a new folder")
    with opened(root, base) as (side,):
        digest = apply_bundle(side.state, folder, seed_state(root), target, revert, **part)
    if loadable:
        write_loadable(target, tokenizer_folder(root), loadable)
    judged = {manifest["core"]["base"]: "the bundle's old model", manifest["core"]["new"]: "the bundle's new model"}
    what = judged.get(digest, "a new state, not judged until it is evaluated")
    if as_json:
        click.echo(json.dumps({"folder": str(target), "digest": digest, "judged": digest in judged}))
    else:
        click.echo(f"{target}: {digest[:12]}, {what}")


def _bundle_folder(name: str) -> Path:
    """A bundle's folder by its id, its folder, or the commit that carries it."""
    from birdbone.diff.bundle import find_bundle
    from birdbone.diff.revisions import BUNDLES
    from birdbone.git.repository import commit, git

    root = project_root()
    try:
        return find_bundle(root, name)
    except BundleError as error:
        sha = commit(root, name)
        if sha is None:
            raise
        listed = git(root, "show", "--no-renames", "--diff-filter=A", "--name-only", "--format=", sha).decode()
        added = [p for p in listed.splitlines() if p.startswith(f"{BUNDLES}/") and p.endswith("/manifest.json")]
        if not added:
            raise BundleError(f"{name} is no bundle's id, and as a commit it adds none") from error
        return find_bundle(root, Path(added[0]).parent.name)
