"""What stands on either side of a diff: a folder, the workspace, a git revision, or a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from birdbone.datasets.atomic import MANIFEST
from birdbone.diff.records import Records, read_records, revision, workspace
from birdbone.diff.states import State, open_state
from birdbone.errors import BundleError, SourceError
from birdbone.git.config_diff import resolved
from birdbone.git.lock import LOCK, Tracked, tracked_model
from birdbone.git.repository import git
from birdbone.run.catalog import CatalogFiles, base_files

BUNDLES = "diffs"
HERE = "."


@dataclass(frozen=True)
class Side:
    """One model state, its records, and its entry in DVC.

    tracked: as ``dvc.lock`` has it, None outside DVC. config: the resolved parameters, empty where
    unknown.
    """

    label: str
    state: State
    records: Records = field(default_factory=Records)
    config: dict = field(default_factory=dict)
    tracked: Tracked | None = None


@contextmanager
def opened(root: Path, *names: str) -> Iterator[list[Side]]:
    """The sides that these arguments name, in order. Models of other revisions come from DVC.

    ``.`` is the workspace's accepted model; a path that holds a model is that model; a bundle's id
    is the commit that added it; all else is a git revision. Raises SourceError where it is none of
    these.
    """
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="birdbone-")))
        yield [_side(root, name, place / str(i)) for i, name in enumerate(names)]


def seed_side(root: Path) -> Side:
    """The workspace's seed, judged against itself."""
    files = base_files(root)
    records = read_records(workspace(root), files)
    figures = {k: records.figures[k] for k in ("seed", "final") if records.figures.get(k)}
    return Side("the seed", open_state(root / files.path("seed_model")), Records({**figures, "is_seed": True}))


def seed_state(root: Path) -> State | None:
    """The workspace's seed, in whose coordinates bundles speak, where there is one."""
    seed = root / base_files(root).path("seed_model")
    return open_state(seed) if (seed / MANIFEST).is_file() else None


def tokenizer_folder(root: Path) -> Path:
    """The workspace's tokenizer."""
    return root / base_files(root).path("tokenizer")


def commit_of(root: Path, bundle: str) -> str:
    """The commit that added a bundle. Raises BundleError where none did."""
    path = f"{BUNDLES}/{bundle}/manifest.json"
    commits = (
        git(root, "log", "--all", "--diff-filter=A", "--format=%H", "--", path).decode().split()
    )
    if not commits:
        raise BundleError(
            f"no commit adds {path}: commit it first; until then `.`, the workspace, is its model"
        )
    return commits[-1]


def _side(root: Path, name: str, place: Path) -> Side:
    if name == HERE:
        tree = workspace(root)
        files = base_files(root)
        tracked = tracked_model(tree.read(LOCK))
        path = _latest(root, files) if tracked is None else root / tracked.path
        return Side("workspace", open_state(path), read_records(tree, files), resolved(root), tracked)
    if Path(name).is_dir() and any((Path(name) / f).is_file() for f in ("config.json", "model.safetensors")):
        return Side(name, open_state(Path(name)))
    bundle = (root / BUNDLES / Path(name).name / "manifest.json").is_file()
    rev = commit_of(root, Path(name).name) if bundle else name
    try:
        tree = revision(root, rev)
    except SourceError as error:
        raise SourceError(f"{name} is neither a model's folder nor a bundle nor a git revision") from error
    tracked = tracked_model(tree.read(LOCK))
    if tracked is None:
        raise SourceError(
            f"revision {name} tracks no model: its dvc.lock is missing or has no accepted one"
        )
    _fetch(root, rev, tracked.path, place)
    return Side(name, open_state(place), read_records(tree, base_files(root)), resolved(root, rev), tracked)


def _latest(root: Path, files: CatalogFiles) -> Path:
    """The accepted model of the last wave that has one."""
    before, after = files.path("wave_*.accepted").split("*")
    models = {path: path.relative_to(root).as_posix() for path in root.glob(f"{before}*{after}")}
    if not models:
        raise SourceError("the workspace has no accepted model yet: kedro run, or dvc checkout")
    return max(models, key=lambda path: int(models[path].removeprefix(before).removesuffix(after)))


def _fetch(root: Path, rev: str, path: str, place: Path) -> None:
    """A tracked folder as it was at a revision, from DVC's cache or remote."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        DVCFileSystem(str(root), rev=rev).get(path, str(place), recursive=True)
    except (DvcException, OSError) as error:
        raise SourceError(
            f"{path} of {rev} is in neither DVC's cache nor a remote ({error}): dvc pull it"
        ) from error
